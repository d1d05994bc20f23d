job "bad-list" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      vault {
        policies = "one"
      }
    }
  }
}
