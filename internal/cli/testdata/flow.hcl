workflow "flow" {
  param "who" {
    type    = string
    default = "world"
  }
  param "fail" {
    type    = bool
    default = false
  }
  param "token" {
    type      = string
    default   = "hunter2"
    sensitive = true
  }

  task "extract" {
    for_each = { eu = 2, us = 3 }
    driver   = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo from $1; echo oops >&2; echo rows=$2 >> $CAIRN_OUTPUT", "sh", each.key, tostring(each.value)]
    }
    output "rows" {
      type = number
    }
  }

  task "flaky" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo attempt $CAIRN_ATTEMPT; test $CAIRN_ATTEMPT = 2"]
    }
    retry {
      max_attempts = 2
      delay        = "10ms"
    }
  }

  task "load" {
    depends_on = [task.flaky]
    driver     = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo hello $1; echo first >&2; echo last words >&2; test $2 = false || exit 3", "sh", param.who, tostring(param.fail)]
    }
    output "rows" {
      type    = number
      default = sum([1, 1])
    }
  }

  task "rollback" {
    depends_on   = [task.load]
    trigger_rule = "one_failed"
    driver       = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "never" {
    depends_on = [task.extract]
    when       = param.who == "nobody"
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "joined" {
    depends_on   = [task.load, task.never]
    trigger_rule = "all_done"
  }

  finally "report" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [run.status]
    }
    output "line" {
      from = "stdout"
    }
  }

  output "rows" {
    value = { for region, t in task.extract : region => t.output.rows }
  }

  output "secret" {
    value     = param.token
    sensitive = true
  }
}
