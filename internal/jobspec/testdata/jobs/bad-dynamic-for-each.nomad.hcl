job "bad-dynamic-for-each" {
  group "main" {
    dynamic "task" {
      for_each = 3
      labels   = ["x"]
      content {
        driver = "raw_exec"
      }
    }
  }
}
