job "bad-dynamic-content" {
  group "main" {
    dynamic "constraint" {
      for_each = [1]
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
