job "bad-env-twice" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      env = { A = 1 }
      env {
        B = 2
      }
    }
  }
}
