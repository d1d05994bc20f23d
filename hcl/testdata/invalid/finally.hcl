workflow "w" {
  task "a" {
    when = run.status == "failed" # ERROR: `when` of task a cannot refer to run.status. How a run ends is known in finally tasks only.
  }
  locals {
    end = "it ${run.status}"
  }
  task "b" {
    when = task.report.status == "succeeded" # ERROR: task b refers to report, which runs after everything else because it is a finally task.
  }
  task "c" {
    depends_on = [task.report] # ERROR: task c cannot wait for report, which runs after everything else because it is a finally task.
    when       = local.end == "" # ERROR: `when` of task c uses local end, which reads run.status or run.failed_tasks.
  }
  finally "report" {
    depends_on = [task.a] # ERROR: task report is a finally task and a is not: finally begins after all other tasks anyway, and reads them without depends_on. Take it out.
    driver     = "raw_exec"
    config {
      command = run.status
      args    = [local.end, jsonencode(run.failed_tasks), task.a.status]
    }
  }
  output "status" {
    value = run.status # ERROR: Output status cannot refer to run.status.
  }
}
