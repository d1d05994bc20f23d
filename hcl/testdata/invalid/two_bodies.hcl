workflow "w" {
  task "driver_and_group" {
    driver = "raw_exec" # ERROR: task driver_and_group has both a driver, whose body is a Nomad task, and group
    group {
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "wait_and_http" {
    wait {
      duration = "1m"
    }
    http { # ERROR: task wait_and_http has both wait and http
      url = "https://example.com"
    }
  }
  task "twice" {
    wait {
      duration = "1m"
    }
    wait { # ERROR: task twice has wait twice
      duration = "2m"
    }
  }
  task "driver_and_approval" {
    driver = "docker" # ERROR: task driver_and_approval has both a driver, whose body is a Nomad task, and approval
    approval {}
    config {
      image = "x"
    }
  }
}
