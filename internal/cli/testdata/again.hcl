# Fails until the file that gate names is there; its child run too.
workflow "again" {
  param "gate" {
    type = string
  }
  param "ok" {
    type    = bool
    default = false
  }

  task "first" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo n=3 > $CAIRN_OUTPUT"]
    }
    output "n" {
      type = number
    }
  }

  task "second" {
    depends_on   = [task.nested]
    trigger_rule = "all_done"
    driver       = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo got $1; test $2 = true || test -e $3", "sh", tostring(task.first.output.n), tostring(param.ok), param.gate]
    }
  }

  task "nested" {
    run_workflow {
      name   = "child"
      params = { gate = param.gate }
    }
  }

  task "third" {
    depends_on = [task.second, task.nested]
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  finally "bye" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}

workflow "child" {
  param "gate" {
    type = string
  }
  task "one" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo looking; test -e $1", "sh", param.gate]
    }
  }
}
