job "one" {
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
job "two" {
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
