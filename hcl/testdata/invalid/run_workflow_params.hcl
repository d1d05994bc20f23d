workflow "main" {
  param "secret" {
    type      = any
    sensitive = true
  }
  task "producer" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "list" {
      type = list(string)
    }
  }
  task "none" {
    run_workflow { # ERROR: param day of workflow child is required and not given
      name = "child"
    }
  }
  task "wrong" {
    run_workflow {
      name = "child"
      params = {
        day   = "2026-01-31"
        rwos  = 3 # ERROR: workflow child has no param rwos
        rows  = "many" # ERROR: param rows of workflow child must be a number: a number is required
        parts = { a = "b" } # ERROR: param parts of workflow child must be list(string): list of string required
        flag  = null # ERROR: param flag of workflow child must not be null
      }
    }
  }
  task "from_outputs" {
    run_workflow {
      name = "child"
      params = {
        day  = task.producer.output.list # ERROR: param day of workflow child must be text: string required, but have list of string
        rows = true # ERROR: param rows of workflow child must be a number: number required, but have bool
      }
    }
  }
  task "whole" {
    run_workflow {
      name   = "child"
      params = local.some # ERROR: workflow child has no param rosw
    }
  }
  task "no_map" {
    run_workflow {
      name   = "child"
      params = ["x"] # ERROR: `run_workflow.params` of task no_map must be params by name, such as { day = param.day }, not a list
    }
  }
  task "block" {
    run_workflow { # ERROR: param day of workflow child is required and not given
      name = "child"
      params { # ERROR: params is an argument: write params = … instead of a block
        day = "x"
      }
    }
  }
  locals {
    some = { day = "x", rosw = 2 }
  }
}

workflow "child" {
  param "day" {
    type = string
  }
  param "rows" {
    type    = number
    default = 0
  }
  param "parts" {
    type    = list(string)
    default = []
  }
  param "flag" {
    type    = bool
    default = false
  }
  task "a" {}
}
