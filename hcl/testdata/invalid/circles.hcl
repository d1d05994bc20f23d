workflow "w" {
  task "self" {
    depends_on = [task.self] # ERROR: task self cannot depend on itself.
  }
  task "a" { # ERROR: These tasks wait for each other: a -> b -> a. Take one depends_on or one reference out.
    depends_on = [task.b, task.unknown] # ERROR: There is no task unknown
  }
  task "b" {
    depends_on = [task.a, task.bye] # ERROR: task b cannot wait for bye
  }
  task "c" { # ERROR: These tasks wait for each other: c -> d -> c. Take one depends_on or one reference out.
    depends_on = [task.d, task.a]
  }
  task "d" {
    depends_on = [task.c]
  }
  finally "bye" {
    depends_on = [task.bye] # ERROR: task bye cannot depend on itself.
  }
}
