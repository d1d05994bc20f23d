job "bad-scaling-label" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      scaling "disk" {
        max = 1
      }
    }
  }
}
