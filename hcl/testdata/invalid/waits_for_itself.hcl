workflow "w" {
  task "a" {
    depends_on = [task.a] # ERROR: task a cannot depend on itself.
  }
  task "b" {
    when = task.b.status == "pending" # ERROR: task b refers to itself.
  }
}
