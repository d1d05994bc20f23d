job "bad-scaling-twice" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      scaling "cpu" {
        max = 1
      }
      scaling "cpu" {
        max = 2
      }
    }
  }
}
