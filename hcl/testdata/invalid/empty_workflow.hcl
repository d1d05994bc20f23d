workflow "w" { # ERROR: workflow w has no tasks. Write at least one task block.
  param "x" {}
}
workflow "v" {
  priority = 101 # ERROR: `priority` of the workflow must be a whole number from 1 to 100.
  timeout  = "0x" # ERROR: `timeout` of the workflow must be a duration such as
  labels   = "x" # ERROR: `labels` of the workflow must be a map of text such as { team = "data" }, not text.
  owner    = param.x # ERROR: `owner` of the workflow cannot refer to param.x. It is needed before any param is known.
  param "x" {}
  task "a" {}
}
task "b" {} # ERROR: task cannot be written at the top of a file. A task belongs into a workflow block.
worklow "x" {} # ERROR: worklow is nothing that can be written at the top of a file. Did you mean `workflow`?
locals {
  x = param.x # ERROR: Local x cannot refer to param.x. It is needed before any param is known.
}
