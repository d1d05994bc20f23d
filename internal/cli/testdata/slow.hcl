# Goes on for a minute, or until it is stopped.
workflow "slow" {
  task "forever" {
    driver = "raw_exec"
    config {
      command = "/bin/sleep"
      args    = ["60"]
    }
  }

  task "after" {
    depends_on = [task.forever]
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  finally "tidy" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}
