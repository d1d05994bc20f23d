workflow "w" {
  task "cairns_words" {
    group {
      retry { # ERROR: retry cannot be written in a group
        max_attempts = 2
      }
      timeout = "1h" # ERROR: timeout cannot be written in a group
      output "rows" {} # ERROR: output cannot be written in a group
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "owned" {
    group {
      count = 3 # ERROR: count cannot be written here
      restart { # ERROR: restart cannot be written here
        attempts = 2
      }
      reschedule { # ERROR: reschedule cannot be written here
        attempts = 1
      }
      task "main" {
        driver = "raw_exec"
        restart { # ERROR: restart cannot be written here
          attempts = 2
        }
        config {
          command = "x"
        }
      }
    }
  }
  task "placement" {
    group {
      namespace   = "data" # ERROR: namespace cannot be written here
      datacenters = ["dc1"] # ERROR: datacenters cannot be written here
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "unknown" {
    group {
      netwrk {} # ERROR: Nomad knows no block "netwrk" here
      task "main" {
        driver = "raw_exec"
        kill_timout = "5s" # ERROR: Nomad knows no argument "kill_timout" here
        config {
          command = "x"
        }
      }
    }
  }
}
