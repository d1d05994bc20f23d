workflow "w" {
  task "inputs" {
    approval {
      input "by" {} # ERROR: Every approval has the output by by itself
      input "Rows" {} # ERROR: "Rows" is no name for an input
      input "rows" {
        type    = number
        default = "many" # ERROR: `default` of input rows must be a number: a number is required
        from    = "file" # ERROR: from is nothing that can be written in an input
      }
      input "rows" {} # ERROR: input rows is already declared at approval.hcl:6
      input {} # ERROR: Write input "name" { … }: its name is a label
      output "x" {} # ERROR: output cannot be written in approval
    }
  }
  task "words" {
    approval {
      approvers  = "alice" # ERROR: `approval.approvers` of task words must be a list of text such as ["a", "b"], not text.
      timeout    = 5 # ERROR: `approval.timeout` of task words must be a duration with its unit, such as "90s", "5m" or "1h30m", not a
      on_timeout = "aprove" # ERROR: `approval.on_timeout` of task words must be "reject" or "approve"
      aprovers   = ["bob"] # ERROR: aprovers is nothing that can be written in approval
    }
  }
  task "no_timeout" {
    approval {
      on_timeout = "approve" # ERROR: on_timeout says what happens when the timeout of the approval is over, and it has none
    }
  }
  task "nulls" {
    approval {
      approvers = ["alice", null] # ERROR: `approval.approvers` of task nulls is null where a value is needed
      timeout   = "-1h" # ERROR: `approval.timeout` of task nulls must not be negative
    }
  }
  task "reads" {
    driver = "raw_exec"
    config {
      command = task.inputs.output.commet # ERROR: task inputs has no output commet
      args    = [task.inputs.output.rows + "x"] # ERROR: Unsuitable value for right operand: a number is required
    }
  }
}
