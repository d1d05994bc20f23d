workflow "w" {
  task "no_driver" { # ERROR: task no_driver has a body but no driver.
    config {
      command = "x"
    }
  }
  task "block_or_argument" {
    driver = "raw_exec"
    config = { command = "x" } # ERROR: config is a block: write config { … } without an equals sign.
    retry  = 3 # ERROR: retry is a block: write retry { … } without an equals sign.
    timeout {} # ERROR: timeout is an argument: write timeout = … instead of a block.
  }
  task "dynamic" {
    driver = "raw_exec"
    dynamic "retry" { # ERROR: retry is Cairn's own and cannot be made by a dynamic block.
      for_each = [1]
      content {}
    }
    config {
      command = "x"
    }
  }
  task "functions" {
    driver = "raw_exec"
    config {
      command = timestamp() # ERROR: it would give another value each time. Use run.started_at or run.scheduled_at
      args    = [uper("x")] # ERROR: There is no function named "uper". Did you mean "upper"?
    }
  }
}
