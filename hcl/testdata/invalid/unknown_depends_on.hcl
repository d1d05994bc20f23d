workflow "w" {
  task "extract" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
  task "load" {
    depends_on = [task.extact] # ERROR: There is no task extact in workflow w. Did you mean `extract`?
  }
}
