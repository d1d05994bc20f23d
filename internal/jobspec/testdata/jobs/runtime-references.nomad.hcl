job "runtime-references" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      env {
        TOKEN = "t"
      }
      config {
        command = "${NOMAD_TASK_DIR}/run"
        args = [
          "${node.unique.name}", "${ node.class }", "x${attr.cpu.arch}y${meta.rack}",
          "${env["HOME"]}", "${meta["a.b"]}", "${device.model}", "${TOKEN}", "${NOMAD_META_x}",
          "$${LITERAL}", "%%{ if }", "a$$${b}", node.datacenter, "${attr.driver.docker.version}",
          join(",", ["${node.region}", "b"]), jsonencode({ node = "${node.unique.id}" }), format("%s-%d", NOMAD_ALLOC_INDEX, 3),
        ]
      }
      template {
        data        = "${NOMAD_ALLOC_ID} ${env["X"]}"
        destination = "${NOMAD_SECRETS_DIR}/f"
      }
    }
  }
}
