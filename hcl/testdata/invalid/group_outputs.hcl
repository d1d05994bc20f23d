workflow "w" {
  task "a" {
    group {
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
          args    = [task.a.output.rows] # ERROR: task a refers to itself
        }
      }
    }
    output "rows" {
      from = "stdout" # ERROR: A group has several tasks, so standard output is not one text
    }
  }
}
