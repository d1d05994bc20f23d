workflow "w" {
  param "wrong_default" {
    type    = number
    default = "many" # ERROR: `default` of param wrong_default must be a number: a number is required.
  }
  param "null_default" {
    type    = string
    default = null # ERROR: `default` of param null_default must not be null. Write nullable = true in it if null means something.
  }
  param "quoted" {
    type = "string" # ERROR: A type is written without quotes: type = string.
  }
  param "no_type" {
    type = lst(string) # ERROR: Keyword "lst" is not a valid type constructor
  }
  param "reads_task" {
    default = task.a.status # ERROR: `default` of param reads_task cannot refer to task.a.status. It is needed before any task runs.
  }
  param "reads_start" {
    default = run.started_at # ERROR: The run has not started when its params are settled; use run.scheduled_at.
  }
  param "half" {
    validation { # ERROR: A validation needs a condition and an error_message; error_message is missing.
      condition = param.half == "x"
    }
  }
  param "condition" {
    type = number
    validation {
      condition     = param.condition # ERROR: `condition` of param condition must be true or false, not a number.
      error_message = "no"
    }
  }
  param "secret" {
    type      = number
    sensitive = true
    default   = "hunter2" # ERROR: `default` of param secret must be a number, which it is not; because it is sensitive, it is not shown here.
  }
  task "a" {}
}
