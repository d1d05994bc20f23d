workflow "w" {
  task "neither" {
    wait {} # ERROR: The wait block of task neither needs duration, such as "10m", or until, a moment such as
  }
  task "both" {
    wait {
      duration = "1m"
      until    = "2026-01-31T06:00:00Z" # ERROR: The wait of task both has both duration and until
    }
  }
  task "number" {
    wait {
      duration = 60 # ERROR: `wait.duration` of task number must be a duration with its unit, such as "90s", "5m" or "1h30m", not a number
    }
  }
  task "negative" {
    wait {
      duration = "-5m" # ERROR: `wait.duration` of task negative must not be negative
    }
  }
  task "no_moment" {
    wait {
      until = "2026-01-31" # ERROR: `wait.until` of task no_moment must be a moment with its zone, such as "2026-01-31T06:00:00Z" (RFC 3339)
    }
  }
  task "long_ago" {
    wait {
      until = "1815-06-18T11:00:00Z" # ERROR: `wait.until` of task long_ago must lie between the years 1970 and 2200
    }
  }
  task "words" {
    timeout = "1h" # ERROR: The body of task words is wait, so timeout cannot stand beside it
    retry {} # ERROR: The body of task words is wait, so retry cannot stand beside it
    wait {
      untill = "2026-01-31T06:00:00Z" # ERROR: untill is nothing that can be written in wait
    }
    output "x" {} # ERROR: task words cannot declare outputs
  }
  task "nomad" {
    wait {
      duration = "${node.unique.name}" # ERROR: node.unique.name is known only on the machine where the task runs, so `wait.duration` of task nomad cannot
    }
  }
}
