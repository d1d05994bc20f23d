job "dynamic-blocks" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      dynamic "env" {
        for_each = [1]
        content {
          COUNT = env.value
        }
      }
      dynamic "template" {
        for_each = { a = "one", b = "two" }
        content {
          data        = template.value
          destination = "local/${template.key}"
        }
      }
      dynamic "constraint" {
        for_each = ["x", "y"]
        iterator = c
        content {
          attribute = "${meta.role}"
          value     = c.value
        }
      }
      dynamic "artifact" {
        for_each = []
        content {
          source = artifact.value
        }
      }
    }
  }
}
