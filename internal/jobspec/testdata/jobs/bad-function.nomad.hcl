job "bad-function" {
  group "main" {
    task "work" {
      driver = nosuch("x")
    }
  }
}
