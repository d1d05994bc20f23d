pool "db" {} # ERROR: pool is part of the language but not supported yet.
task_type "x" {} # ERROR: task_type is part of the language but not supported yet.
workflow "w" {
  schedule "nightly" {} # ERROR: schedule is part of the language but not supported yet.
  trigger "x" {} # ERROR: trigger is part of the language but not supported yet.
  notify "x" {} # ERROR: notify is part of the language but not supported yet.
  concurrency { # ERROR: concurrency is part of the language but not supported yet.
    max_runs = 1
  }
  task "group" {
    group { # ERROR: group is part of the language but not supported yet.
    }
  }
  task "job" {
    job { # ERROR: job is part of the language but not supported yet.
      source = "x.nomad.hcl"
    }
  }
  task "dispatch" {
    dispatch { # ERROR: dispatch is part of the language but not supported yet.
      job = "x"
    }
  }
  task "child" {
    run_workflow { # ERROR: run_workflow is part of the language but not supported yet.
      name = "x"
    }
  }
  task "approve" {
    approval { # ERROR: approval is part of the language but not supported yet.
      timeout = "12h"
    }
  }
  task "wait" {
    wait { # ERROR: wait is part of the language but not supported yet.
      duration = "1h"
    }
  }
  task "http" {
    http { # ERROR: http is part of the language but not supported yet.
      url = "http://x"
    }
  }
  task "file" {
    when = file("x") == "y" # ERROR: reading files is not supported yet.
  }
  task "uses" {
    uses = "x" # ERROR: uses is part of the language but not supported yet.
  }
}
