job "bad-missing-required" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      lifecycle {
        sidecar = true
      }
    }
  }
}
