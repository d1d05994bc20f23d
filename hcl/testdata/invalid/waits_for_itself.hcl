workflow "w" {
  task "a" {
    depends_on = [task.a] # ERROR: task a cannot depend on itself.
  }
  task "b" { # ERROR: task b refers to itself.
    when = task.b.status == "pending"
  }
}
