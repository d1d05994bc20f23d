workflow "w" {
  defaults {
    config { # ERROR: config cannot be written in defaults. Each task writes its own config.
      command = "x"
    }
    for_each    = toset([]) # ERROR: for_each cannot be written in defaults. What shapes the graph stands in each task, never in defaults.
    depends_on  = [task.a] # ERROR: depends_on cannot be written in defaults.
    min_success = 1 # ERROR: min_success cannot be written in defaults.
    timout      = "1h" # ERROR: timout is nothing that can be written in defaults. Did you mean `timeout`?
    env {
      X = param.nope # ERROR: There is no param nope.
    }
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
}
