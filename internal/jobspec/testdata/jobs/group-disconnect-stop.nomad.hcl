job "group-disconnect-stop" {
  group "main" {
    disconnect {
      stop_on_client_after = "5m"
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
