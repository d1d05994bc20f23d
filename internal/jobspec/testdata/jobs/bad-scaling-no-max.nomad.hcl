job "bad-scaling-no-max" {
  group "main" {
    scaling {
      min = 1
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
