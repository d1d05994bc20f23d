job "bad-unknown-argument" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      comand = "x"
    }
  }
}
