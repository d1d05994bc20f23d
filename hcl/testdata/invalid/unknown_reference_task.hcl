workflow "w" {
  task "extract" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
  task "load" {
    when   = task.extrat.status == "succeeded" # ERROR: There is no task extrat in workflow w. Did you mean `extract`?
    driver = "raw_exec"
    config {
      command = task.nowhere_near.status # ERROR: There is no task nowhere_near in workflow w.
    }
  }
}
