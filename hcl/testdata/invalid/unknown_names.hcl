workflow "w" {
  descripton = "x" # ERROR: descripton is nothing that can be written in a workflow. Did you mean `description`?
  on_failure = "stop" # ERROR: `on_failure` of the workflow must be "continue", "drain" or "fail_fast".
  taks "x" {} # ERROR: taks is nothing that can be written in a workflow. Did you mean `task`?
  param "p" {
    typ = string # ERROR: typ is nothing that can be written in a param. Did you mean `type`?
  }
  task "a" {
    timout = "1h" # ERROR: Did you mean "timeout"?
    driver = "raw_exec"
    config {
      command = "x"
    }
    resource { # ERROR: Did you mean "resources"?
      cpu = 100
    }
    retry {
      max_atempts = 2 # ERROR: max_atempts is nothing that can be written in retry. Did you mean `max_attempts`?
      attempts    = 2 # ERROR: attempts cannot be written in retry. Write max_attempts: all tries, the first one included.
    }
    output "x" {
      value = 1 # ERROR: value cannot be written in an output of a task. A task's output comes from the program
    }
  }
  output "y" { # ERROR: output y needs a value
    vale = 1 # ERROR: vale is nothing that can be written in an output of the workflow. Did you mean `value`?
  } # nothing
}
