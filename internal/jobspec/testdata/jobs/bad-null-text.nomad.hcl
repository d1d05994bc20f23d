job "bad-null-text" {
  group "main" {
    task "work" {
      driver = null
    }
  }
}
