locals {
  shared = 1
}
workflow "w" {
  param "p" {}
  param "p" {} # ERROR: param p is already declared at duplicates.hcl:5.
  locals {
    x      = 1
    shared = 2 # ERROR: local shared is already declared for all workflows at duplicates.hcl:2.
  }
  locals {
    x = 2 # ERROR: local x is already declared at duplicates.hcl:8.
  }
  defaults {
    timeout = "1h"
  }
  defaults { # ERROR: A workflow has one defaults block.
    timeout = "2h"
  }
  task "t" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    retry {
      max_attempts = 2
    }
    retry { # ERROR: task t has retry twice.
      max_attempts = 3
    }
    output "o" {}
    output "o" {} # ERROR: output o is already declared at duplicates.hcl:31.
  }
  finally "t" {} # ERROR: task t is already declared at duplicates.hcl:20. All tasks, finally tasks too, share one set of names.
  output "r" {
    value = 1
  }
  output "r" { # ERROR: output r is already declared at duplicates.hcl:35.
    value = 2
  }
}
workflow "w" { # ERROR: workflow w is already declared at duplicates.hcl:4.
  task "a" {}
}
