job "job-tasks-without-group" {
  vault {
    policies = ["base"]
  }
  secret "shared" {
    provider = "nomad"
    path     = "nomad/jobs/shared"
  }
  task "alone" {
    driver = "raw_exec"
    template {
      data        = "x"
      destination = "local/x"
    }
    env {
      A = "1"
    }
  }
  group "other" {
    task "work" {
      driver = "raw_exec"
    }
  }
  task "second" {
    driver = "raw_exec"
    identity {
      env = true
    }
  }
}
