job "periodic" {
  type = "batch"
  periodic { # ERROR: A periodic job is started by Nomad's clock
    crons = ["@daily"]
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
      }
    }
  }
}
