workflow "w" {
  task "task_fields" {
    config { # ERROR: config cannot be written here
      command = "x"
    }
    env { # ERROR: env cannot be written here
      A = "1"
    }
    group {
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "typo" {
    namespce = "data" # ERROR: Nomad knows no argument "namespce" here
    group {
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
}
