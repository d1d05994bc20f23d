workflow "w" {
  locals {
    node = "on ${node.unique.name}"
  }
  task "a" {
    when   = node.datacenter == "dc1" # ERROR: node.datacenter is known only on the machine where the task runs, so `when` of task a cannot use it.
    driver = "raw_exec"
    config {
      command = upper(node.unique.name)                      # ERROR: node.unique.name is known only on the machine where the task runs
      args    = [attr.cpu.numcores > 4 ? "big" : "small"]    # ERROR: attr.cpu.numcores is known only on the machine where the task runs
    }
  }
  task "b" {
    when = local.node == "x" # ERROR: `when` of task b uses local node, whose value is known only on the machine where the task runs.
  }
}
