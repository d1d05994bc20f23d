job "bad-overflow" {
  group "main" {
    spread {
      attribute = "x"
      weight    = 300
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
