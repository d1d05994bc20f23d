workflow "w" {
  param "people" {
    type = list(object({ name = string }))
  }
  task "no_key" {
    for_each = param.people # ERROR: `for_each` of task no_key is a list, whose elements have no names: write `key = <expression over each.value>`
    driver   = "raw_exec"
    config {
      command = each.value.name
    }
  }
  task "key_of_map" {
    for_each = { a = 1 } # ERROR: `for_each` of task key_of_map must be a list, because the task writes `key`; the keys of a map and the
    key      = each.value
    driver   = "raw_exec"
    config {
      command = "x"
    }
  }
  task "element" {
    for_each = param.people
    key      = each.value.nmae # ERROR: This object does not have an attribute named "nmae"
    driver   = "raw_exec"
    config {
      command = each.valu # ERROR: each has no valu
      args    = [each.value.nam, each.index.x, each.key + 1] # ERROR: This object does not have an attribute named "nam" # ERROR: It is a number, which has no x: leave .x out.
    }
  }
  task "counted" {
    count  = "many" # ERROR: `count` of task counted must be a whole number from 0 to 1000000, not text
    driver = "raw_exec"
    config {
      command = each.key.x # ERROR: It is text, which has no x: leave .x out.
    }
  }
  task "plain" {
    driver = "raw_exec"
    config {
      command = each.key # ERROR: The body of task plain cannot refer to each.key
    }
    timeout = "${each.index}m" # ERROR: `timeout` of task plain cannot refer to each.index
  }
  locals {
    x = each.key # ERROR: Local x cannot refer to each.key. each.* exists only inside a task with for_each or count
  }
  output "x" {
    value = each.value # ERROR: Output x cannot refer to each.value. each.* exists only inside a task with for_each or count
  }
}
