workflow "w" {
  task "a" { # ERROR: These tasks wait for each other: a -> c -> b -> a. Take one depends_on or one reference out.
    depends_on = [task.c]
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = task.a.status
    }
  }
  task "c" {
    depends_on = [task.b]
  }
}
