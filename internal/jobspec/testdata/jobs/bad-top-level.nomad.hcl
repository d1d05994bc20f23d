jobs "one" {
}
job "two" {
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
