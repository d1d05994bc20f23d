job "service" { # ERROR: A job file that says no type is a service
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
      }
    }
  }
}
