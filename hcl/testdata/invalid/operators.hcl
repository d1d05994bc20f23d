workflow "w" {
  param "n" {
    type = number
  }
  param "text" {
    type = string
  }
  param "list" {
    type = list(string)
  }
  task "producer" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
    output "name" {}
  }
  locals {
    a = param.n + "many" # ERROR: Unsuitable value for right operand: a number is required
    b = param.list * 2 # ERROR: Unsuitable value for left operand: number required, but have list of string
    c = param.n ? "yes" : "no" # ERROR: The condition before ? must be true or false, not a number
    d = !param.list # ERROR: Unsuitable value for unary operand: bool required, but have list of string
    e = "rows: ${param.list}" # ERROR: A list of string cannot become part of a text
    f = task.producer.output.rows == "0" # WARNING: A number is compared with text, and values of different types are never equal
    g = task.producer.output.name != 5 # WARNING: Text is compared with a number, and values of different types are never equal
    h = param.text && true
    i = param.list > 3 # ERROR: Unsuitable value for left operand: number required, but have list of string
    j = param.n > 3 ? [1] : "x" # ERROR: The true and false result expressions must have consistent types
  }
  task "condition" {
    when = task.producer.output.rows # ERROR: `when` of task condition must be true or false, not a number
  }
  task "compared" {
    when = task.producer.status == "suceeded" || task.producer.status == 5 # WARNING: task.producer.status is never "suceeded": it is pending, queued, waiting, starting, running, succeeded, # WARNING: Text is compared with a number, and values of different types are never equal
  }
}
