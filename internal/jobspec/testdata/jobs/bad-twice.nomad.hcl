job "bad-twice" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
      }
      config {
      }
    }
  }
}
