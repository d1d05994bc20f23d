workflow "w" {
  task "a" {
    for_each = ["x"] # ERROR: `for_each` of task a is a list, whose elements have no names: write `key = <expression over each.value>` beside it, or toset(…) around it.
    driver   = "raw_exec"
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
      args    = [for t in values(task.a) : t.output.rwos] # ERROR: This object does not have an attribute named "rwos".
    }
  }
}
