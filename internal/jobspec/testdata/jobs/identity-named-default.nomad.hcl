job "identity-named-default" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      identity {
        name = "default"
        file = true
      }
    }
  }
}
