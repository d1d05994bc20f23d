job "bad-label-extra" {
  group "main" {
    task "a" "b" {
      driver = "raw_exec"
    }
  }
}
