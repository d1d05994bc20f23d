workflow "two" {
  task "only" {
    driver = "raw_exec"
    config {
      command = "list"
      args    = [local.bucket]
    }
  }
}
