job "bad-duration-null" {
  group "main" {
    task "work" {
      driver       = "raw_exec"
      kill_timeout = null
    }
  }
}
