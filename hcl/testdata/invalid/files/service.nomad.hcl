job "service" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
      }
    }
  }
}
