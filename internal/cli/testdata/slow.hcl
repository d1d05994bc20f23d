# Goes on until it is stopped.
workflow "slow" {
  task "forever" {
    driver = "raw_exec"
    config {
      command = "/bin/sleep"
      args    = ["600"]
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
