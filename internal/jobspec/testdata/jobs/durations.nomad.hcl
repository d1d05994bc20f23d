job "durations" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      kill_timeout   = 5000000000
      shutdown_delay = "1h15m30.5s"
      template {
        data        = "x"
        destination = "local/x"
        splay       = 0
      }
    }
  }
}
