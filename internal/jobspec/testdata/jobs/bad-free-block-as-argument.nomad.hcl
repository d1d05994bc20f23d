job "bad-free-block-as-argument" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config = { a = 1 }
    }
  }
}
