workflow "w" {
  param "n" {
    type    = number
    default = task.a.output.n # ERROR: `default` of param n cannot refer to task.a.output.n
  }
  param "m" {
    type    = string
    default = run.started_at # ERROR: `default` of param m cannot refer to run.started_at
  }
  timeout     = param.n # ERROR: `timeout` of the workflow cannot refer to param.n
  description = run.id # ERROR: `description` of the workflow cannot refer to run.id
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "n" {
      default = param.m # ERROR: `default` of output n cannot refer to param.m
    }
    when = attempt.number == 1 # ERROR: `when` of task a cannot refer to attempt.number
  }
  task "b" {
    count  = attempt.number # ERROR: `count` of task b cannot refer to attempt.number
    driver = "raw_exec"
    config {
      command = attempt.exit_code # ERROR: The body of task b cannot refer to attempt.exit_code
    }
    timeout = run.failed_tasks # ERROR: `timeout` of task b cannot refer to run.failed_tasks
    retry {
      when = run.status == "failed" # ERROR: `retry.when` of task b cannot refer to run.status
    }
  }
  output "o" {
    value = run.failed_tasks # ERROR: Output o cannot refer to run.failed_tasks
  }
}
