workflow "main" {
  task "a" {
    run_workflow {
      name = "child"
    }
    output "rows" {} # ERROR: task a cannot declare outputs
  }
  task "b" { # WARNING: The body of task b reads sensitive values
    driver = "raw_exec"
    config {
      command = "x"
      args    = [task.a.output.rosw, task.a.output.total.x, task.a.output.secret] # ERROR: task a has no output rosw
    }
  }
  output "secret" {
    value = task.a.output.secret # ERROR: output secret carries a sensitive value
  }
}

workflow "child" {
  task "a" {}
  output "rows" {
    value = 1
  }
  output "total" {
    value = 2
  }
  output "secret" {
    value     = "x"
    sensitive = true
  }
}
