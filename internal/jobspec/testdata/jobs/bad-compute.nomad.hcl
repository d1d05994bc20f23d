job "bad-compute" {
  group "main" {
    count = node.cores + 1
    task "work" {
      driver = "raw_exec"
    }
  }
}
