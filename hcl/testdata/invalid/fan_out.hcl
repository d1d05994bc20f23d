workflow "w" {
  task "both" {
    for_each = toset(["a"])
    count    = 2 # ERROR: task both has both for_each and count.
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
  task "neither" {
    min_success  = 1 # ERROR: min_success is about the instances of a task, and task neither has neither for_each nor count.
    max_parallel = 1 # ERROR: max_parallel is about the instances of a task, and task neither has neither for_each nor count.
    driver       = "raw_exec"
    config {
      command = each.key # ERROR: The body of task neither cannot refer to each.key. The task has neither for_each nor count, so it has no instances.
    }
  }
  task "list" {
    for_each = [1, 2] # ERROR: `for_each` of task list is a list, whose elements have no names
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
  task "listed" {
    for_each    = [{ n = "x" }]
    key         = each.key # ERROR: The key is just being made: use each.value or each.index.
    min_success = "120%" # ERROR: `min_success` of task listed must be a whole number, at least 1, or a percentage such as "80%".
    driver      = "raw_exec"
    config {
      command = each.value.m # ERROR: This object does not have an attribute named "m".
    }
  }
  task "key_alone" {
    key    = "x" # ERROR: key names the elements of a list in for_each, and task key_alone has none.
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
  task "negative" {
    count        = -1 # ERROR: `count` of task negative must be a whole number from 0 to 1000000.
    min_success  = 0 # ERROR: `min_success` of task negative must be a whole number, at least 1, or a percentage such as "80%".
    max_parallel = 0 # ERROR: `max_parallel` of task negative must be a whole number from 1 to 1000000.
    driver       = "raw_exec"
    config {
      command = "x"
    }
  }
  task "a_number" {
    for_each = 3 # ERROR: must be a map, a set of strings such as toset([…]), or a list together with `key`. It is a number.
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
  task "join" { # ERROR: task join has no body, so it only joins others and has no instances.
    count = 2
  }
  task "instances" {
    for_each = { a = 1 }
    when     = each.key == "a" # ERROR: each.* belongs to one instance, and this is evaluated once for the whole task.
    driver   = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {}
  }
  task "reader" {
    when   = task.instances.output.rows == "1" # ERROR: task instances has for_each, so its instances are told apart by key: write task.instances["key"].output, or walk all of them with values(task.instances).
    driver = "raw_exec"
    config {
      command = task.instances["a"].output.row # ERROR: task instances has no output row. Did you mean `rows`?
      args    = [task.instances.status]
    }
  }
  task "empty_key" {
    for_each = { "" = 1 } # ERROR: gives an empty key
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
}
