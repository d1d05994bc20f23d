workflow "w" {
  task "a" {
    timeout       = "1h" # ERROR: task a only joins others, so timeout cannot stand in it
    start_timeout = "1h" # ERROR: task a only joins others, so start_timeout cannot stand in it
    deadline      = "1h" # ERROR: task a only joins others, so deadline cannot stand in it
    retry { # ERROR: task a only joins others, so retry cannot stand in it
      max_attempts = 2
    }
    on_worker_loss { # ERROR: task a only joins others, so on_worker_loss cannot stand in it
      mode = "immediate"
    }
  }
}
