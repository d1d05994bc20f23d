job "config-block-beside-argument" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        mount = [{ type = "bind" }]
        mount {
          type = "tmpfs"
        }
        outer {
          inner = "argument"
          inner {
            from = "block"
          }
        }
      }
    }
  }
}
