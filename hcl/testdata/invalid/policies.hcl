workflow "w" {
  param "list" {
    type = list(string)
  }
  task "a" {
    driver        = "raw_exec"
    timeout       = 60 # ERROR: `timeout` of task a must be a duration with its unit, such as "90s", "5m" or "1h30m", not a number
    start_timeout = "soon" # ERROR: `start_timeout` of task a must be a duration such as "90s", "5m" or "1h30m"; the units are ns, us, ms, s, m
    deadline      = "-1h" # ERROR: `deadline` of task a must not be negative
    allow_failure = "perhaps" # ERROR: `allow_failure` of task a must be true or false, not text
    config {
      command = "x"
    }
    retry {
      max_attempts  = 101 # ERROR: `retry.max_attempts` of task a must be a whole number from 1 to 100
      delay         = param.list # ERROR: `retry.delay` of task a must be a duration such as "90s", "5m" or "1h30m", not a list of string
      backoff       = "linear" # ERROR: `retry.backoff` of task a must be "constant" or "exponential"
      max_delay     = "5" # ERROR: `retry.max_delay` of task a must be a duration such as "90s", "5m" or "1h30m"; the units are ns, us, ms, s, m
      jitter        = 2 # ERROR: `retry.jitter` of task a must be a number from 0 to 1
      on_exit_codes = ["a"] # ERROR: `retry.on_exit_codes` of task a must be a list of exit codes, whole numbers from 0 to 255: at [0] a number is
      avoid_nodes   = 1 # ERROR: `retry.avoid_nodes` of task a must be true or false, not a number
      max_lost      = -1 # ERROR: `retry.max_lost` of task a must be a whole number from 0 to 100
      attempts      = 3 # ERROR: attempts cannot be written in retry
    }
    on_worker_loss {
      mode       = "now" # ERROR: `on_worker_loss.mode` of task a must be "wait_for_stop" or "immediate"
      stop_after = true # ERROR: `on_worker_loss.stop_after` of task a must be a duration such as "90s", "5m" or "1h30m", not true or false
      after      = "5m" # ERROR: after is nothing that can be written in on_worker_loss
    }
  }
  task "fan" {
    count        = 2
    driver       = "raw_exec"
    max_parallel = 0 # ERROR: `max_parallel` of task fan must be a whole number from 1 to 1000000
    min_success  = "120%" # ERROR: `min_success` of task fan must be a whole number, at least 1, or a percentage such as "80%"
    config {
      command = "x"
    }
  }
}
