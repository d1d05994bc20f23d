job "bad-fraction" {
  group "main" {
    count = 1.5
    task "work" {
      driver = "raw_exec"
    }
  }
}
