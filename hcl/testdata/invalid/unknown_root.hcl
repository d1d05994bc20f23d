workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "${parm.x}"    # ERROR: parm.x is not known here: an expression begins with param, local, each, attempt, run or task. Did you mean `param`? For the text itself write $${parm.x}.
      args    = ["${NOMAD_TASK_DIR}", "${node.unique.name}", "${foo}", var.x] # ERROR: For the text itself write $${foo}. # ERROR: Did you mean `param`?
    }
  }
  task "b" {
    when = a.status == "failed" # ERROR: Did you mean `task.a`?
  }
}
