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

  # Where an output would have to be declared depends on the body.
  task "joins" {
    depends_on = [task.a]
  }
  task "asks" {
    approval {}
  }
  task "runs" {
    run_workflow {
      name = "w"
    }
  }
  task "reads" {
    driver = "raw_exec"
    config {
      command = "x"
      args = [
        task.joins.output.rows, # ERROR: task joins has no output rows. It has no body, so nothing can write one: give it a driver, or refer to a task that has one.
        task.asks.output.rows,  # ERROR: task asks has no output rows. The outputs of an approval are its inputs, and by and comment. Write input "name" { … } in the approval.
        task.runs.output.rows,  # ERROR: task runs has no output rows. Its outputs are those of the workflow it runs: declare them there.
      ]
    }
  }
}
