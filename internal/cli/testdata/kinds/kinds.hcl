# One task of every kind, edges of every rule, and a sensitive value wherever one can go.

workflow "kinds" {
  param "day" {
    type    = string
    default = "2026-01-31"
  }
  param "token" {
    type      = string
    sensitive = true
    default   = "hunter2"
  }
  param "login" {
    type      = object({ user = string, codes = list(number) })
    sensitive = true
    default   = { user = "root-user", codes = [4711] }
  }

  task "extract" {
    for_each = { eu = 2, us = 3 }
    driver   = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "exit 0", each.key, base64encode(param.token), param.login.user, jsonencode(param.login.codes)]
    }
    output "rows" {
      type = number
    }
  }

  task "check" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [jsonencode({ for region, t in task.extract : region => t.output.rows })]
    }
  }

  task "shards" {
    count  = task.extract["eu"].output.rows
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "never" {
    when   = param.day == "never"
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "together" {
    group {
      network {
        port "http" {}
      }
      task "prepare" {
        driver = "raw_exec"
        lifecycle {
          hook = "prestart"
        }
        config {
          command = "/bin/true"
        }
      }
      task "main" {
        driver = "raw_exec"
        config {
          command = "/bin/true"
        }
      }
    }
  }

  task "existing" {
    job {
      source = "existing.nomad.hcl"
    }
  }

  task "dispatched" {
    dispatch {
      job     = "etl"
      meta    = { day = param.day, token = param.token }
      payload = "hello"
    }
  }

  task "release" {
    depends_on = [task.check]
    approval {
      approvers = ["ada", "bob"]
      timeout   = "12h"
      input "limit" {
        type    = number
        default = 5
      }
      input "ticket" {
        type = string
      }
    }
  }

  task "settle" {
    depends_on = [task.release]
    wait {
      duration = "10m"
    }
  }

  task "call" {
    depends_on   = [task.settle, task.together]
    trigger_rule = "one_success"
    http {
      method = "POST"
      url    = "https://example.invalid/hook?token=${param.token}"
      body   = task.release.output.ticket
    }
  }

  task "nested" {
    run_workflow {
      name   = "child"
      params = { day = param.day, secret = param.token }
    }
  }

  task "rollback" {
    depends_on   = [task.nested]
    trigger_rule = "one_failed"
    driver       = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "gathered" {
    depends_on   = [task.call, task.dispatched, task.existing]
    trigger_rule = "all_done"
  }

  finally "report" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [run.status]
    }
  }

  finally "alert" {
    depends_on = [task.report]
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}

workflow "child" {
  param "day" {
    type = string
  }
  param "secret" {
    type      = string
    sensitive = true
  }

  task "only" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [param.day, param.secret]
    }
  }
}
