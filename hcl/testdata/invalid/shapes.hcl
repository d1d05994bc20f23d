workflow "w" {
  task "plain" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
    output "parts" {
      type = list(object({ name = string }))
    }
  }
  task "keyed" {
    for_each = toset(["eu", "us"])
    driver   = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  task "counted" {
    count  = 3
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  locals {
    a = task.plain["eu"].output.rows # ERROR: task plain has neither for_each nor count, so there is nothing to pick: write task.plain.output.<name>, or
    b = task.plain[0].output.rows # ERROR: task plain has neither for_each nor count, so there is nothing to pick: write task.plain.output.<name>, or
    c = task.plain.rows # ERROR: A task has status and output, not rows
    d = task.plain.output.rosw # ERROR: task plain has no output rosw
    e = task.plain.output.parts[0].nmae # ERROR: This object does not have an attribute named "nmae"
    f = task.plain.output.parts.name # ERROR: It is a list of object: write [0].name for that of the first element, or [*].name for those of all.
    g = task.plain.output.rows.unit # ERROR: It is a number, which has no unit: leave .unit out.
    h = task.keyed.output.rows # ERROR: task keyed has for_each, so its instances are told apart by key: write task.keyed["key"].output, or walk all
    i = task.keyed[0].output.rows # ERROR: task keyed has for_each, so its instances are told apart by key, not by position: write task.keyed["key"], or
    j = task.keyed["use"].output.rows # ERROR: task keyed has no instance "use"
    k = task.keyed["eu"].output.rosw # ERROR: task keyed has no output rosw
    l = task.keyed[*].output.rows # ERROR: task.keyed is a map, and [*] walks lists: write values(task.keyed)[*]
    m = values(task.keyed)[0].rows # ERROR: This object does not have an attribute named "rows"
    n = { for key, t in task.keyed : key => t.output.rosw } # ERROR: This object does not have an attribute named "rosw"
    o = task.counted.output.rows # ERROR: task counted has count, so its instances are told apart by position: write task.counted[0].output, or walk
    p = task.counted["a"].output.rows # ERROR: task counted has count, so its instances are told apart by position, not by key: write task.counted[0]
    q = task.counted[3].output.rows # ERROR: task counted has count = 3: its instances are numbered from 0 to 2
    r = [for t in task.counted : t.otput.rows] # ERROR: This object does not have an attribute named "otput"
    s = task.counted[*].output.rosw # ERROR: task counted has no output rosw
    t = task # ERROR: task alone is no value: write task.<name>
    u = task.plian.status # ERROR: There is no task plian in workflow w
  }
  task "reader" {
    depends_on = [task.plain, task.keyed, task.counted]
  }
}
