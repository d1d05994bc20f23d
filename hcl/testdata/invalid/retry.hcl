workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    timeout  = "-5m" # ERROR: `timeout` of task a must not be negative.
    deadline = "1 day" # ERROR: `deadline` of task a must be a duration such as "90s", "5m" or "1h30m"; the units are ns, us, ms, s, m and h.
    retry {
      max_attempts  = 0 # ERROR: `retry.max_attempts` of task a must be a whole number from 1 to 100.
      delay         = 10 # ERROR: `retry.delay` of task a must be a duration with its unit, such as "90s", "5m" or "1h30m", not a number.
      backoff       = "exponental" # ERROR: must be "constant" or "exponential". Did you mean `exponential`?
      jitter        = 2 # ERROR: `retry.jitter` of task a must be a number from 0 to 1.
      on_exit_codes = [1, 300] # ERROR: must be a list of exit codes, whole numbers from 0 to 255.
      when          = attempt.exit_cod == 1 # ERROR: attempt has no exit_cod. Did you mean `exit_code`?
    }
    on_worker_loss {
      mode = "wait" # ERROR: must be "wait_for_stop" or "immediate".
      stop = "5m" # ERROR: stop is nothing that can be written in on_worker_loss.
    }
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    retry {
      max_attempts = 101 # ERROR: must be a whole number from 1 to 100.
      delay        = "10m"
      max_delay    = "5m" # ERROR: `max_delay` of task b is 5m0s, less than its delay of 10m0s.
    }
  }
  task "c" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    retry {
      max_attempts = 2
      when         = attempt.exit_code > 2 # WARNING: attempt.exit_code is null when a process was killed or never ran
    }
  }
  task "d" {
    timeout = "${attempt.exit_code}s" # ERROR: How an attempt ended is known in retry.when only; here there is attempt.number.
    when    = attempt.number > 1 # ERROR: `when` of task d cannot refer to attempt.number. There is no attempt yet when this is evaluated.
    driver  = "raw_exec"
    config {
      command = "x"
    }
  }
}
