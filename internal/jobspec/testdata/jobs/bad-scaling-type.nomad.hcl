job "bad-scaling-type" {
  group "main" {
    scaling {
      max  = 1
      type = "vertical_cpu"
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
