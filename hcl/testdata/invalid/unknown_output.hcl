workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = "x"
      args    = [task.a.output.row, task.a.output.bytes, task.a.rows] # ERROR: task a has no output row. Did you mean `rows`? # ERROR: task a has no output bytes. Declare it: output "bytes" { … } in task a. # ERROR: A task has status and output, not rows. Did you mean `output.rows`?
    }
  }
}
