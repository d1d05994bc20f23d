workflow "w" {
  param "regions" {
    type = list(string)
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
    output "tags" {
      type = list(string)
    }
  }
  task "b" {
    when          = task.a.output.tags              # ERROR: `when` of task b must be true or false, not a list of string.
    timeout       = task.a.output.rows              # ERROR: must be a duration with its unit, such as "90s", "5m" or "1h30m", not a number.
    allow_failure = "maybe"                         # ERROR: `allow_failure` of task b must be true or false, not text.
    driver        = "raw_exec"
    config {
      command = "x"
      args    = ["tags: ${task.a.output.tags}"] # ERROR: A list of string cannot become part of a text. Write jsonencode(…) around it
    }
    env {
      SUM = task.a.output.rows + param.regions # ERROR: Unsuitable value for right operand
    }
    resources {
      cpu = "much" # ERROR: cpu: a number is required.
    }
  }
}
