job "bad-unknown-block" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      confg {
      }
    }
  }
}
