job "bad-duration" {
  group "main" {
    task "work" {
      driver       = "raw_exec"
      kill_timeout = "soon"
    }
  }
}
