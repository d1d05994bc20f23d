workflow "w" {
  task "a" {}
  task "b" {
    depends_on = ["a"] # ERROR: Each element of depends_on is a task, written without quotes: task.extract. Did you mean `task.a`?
  }
  task "c" {
    depends_on = task.a # ERROR: `depends_on` must be a list of tasks such as [task.extract].
  }
  task "d" {
    depends_on = [a] # ERROR: Each element of depends_on is a task such as task.extract, not a. Did you mean `task.a`?
  }
  task "e" {
    depends_on = [task.a.output.x] # ERROR: A task depends on whole tasks: write task.a instead of task.a.output.x.
  }
}
