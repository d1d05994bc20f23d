job "template-directives" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        args = ["%{ for x in ["a", "b"] ~}${x},%{ endfor }", "%{ if true }yes%{ else }no%{ endif }", "${[for x in [1, 2] : x * 2][1]}"]
      }
      env {
        LONG = <<EOT
      first
        second ${NOMAD_TASK_NAME}
      EOT
      }
    }
  }
}
