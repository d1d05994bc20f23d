job "bad-type" {
  group "main" {
    count = "many"
    task "work" {
      driver = "raw_exec"
    }
  }
}
