job "bad-label-missing" {
  group "main" {
    task {
      driver = "raw_exec"
    }
  }
}
