pool "small" { # ERROR: pool is part of the language but not supported yet.
  slots = nonsense
}
task_type "etl" {} # ERROR: task_type is part of the language but not supported yet.
notifier "chat" { # ERROR: notifier is part of the language but not supported yet.
  url = file("x")
}
schedule "top" {} # ERROR: schedule is part of the language but not supported yet.

workflow "w" {
  schedule "nightly" { # ERROR: schedule is part of the language but not supported yet.
    cron = param.nope
  }
  trigger "file" {} # ERROR: trigger is part of the language but not supported yet.
  notify "x" {} # ERROR: notify is part of the language but not supported yet.
  pool = "small" # ERROR: pool is part of the language but not supported yet.
  defaults {
    pool = "small" # ERROR: pool is part of the language but not supported yet.
  }
  task "uses" {
    uses = "etl" # ERROR: uses is part of the language but not supported yet.
    output "x" {}
    timeout  = "1h"
    for_each = toset(["a"])
  }
  task "pool" {
    pool   = "small" # ERROR: pool is part of the language but not supported yet.
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
}
