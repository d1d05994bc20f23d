# Every kind of body, with everything that it takes.
locals {
  query = file("sql/load.sql")
}

workflow "bodies" {
  namespace   = "data"
  datacenters = ["dc1"]
  priority    = 70

  concurrency {
    max_runs = 2
    on_limit = "cancel_running"
  }

  param "day" {
    type    = string
    default = "2026-01-31"
  }
  param "token" {
    type      = string
    default   = "hunter2"
    sensitive = true
  }

  defaults {
    timeout = "1h"
    retry {
      max_attempts = 3
      max_lost     = 7
    }
  }

  task "inline" {
    driver = "raw_exec"
    config {
      command = "load"
      args    = [local.query, templatefile("sql/days.tpl", { day = param.day, regions = ["eu", "us"] })]
    }
    output "rows" {
      type = number
    }
  }

  task "group" {
    node_pool = "gpu"
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    group {
      network {
        port "http" {}
      }
      task "main" {
        driver = "raw_exec"
        config {
          command = "main"
          args    = [param.day, task.inline.output.rows, "${NOMAD_PORT_http}"]
        }
      }
      task "proxy" {
        driver = "raw_exec"
        lifecycle {
          hook    = "prestart"
          sidecar = true
        }
        config {
          command = "proxy"
        }
      }
    }
    output "rows" {
      type    = number
      default = 0
    }
    retry {
      avoid_nodes = true
    }
  }

  task "job" {
    job { # WARNING: The jobs of these tasks run unchanged: job, dispatch.
      source = "jobs/batch.nomad.hcl"
      vars = {
        day  = param.day
        rows = task.inline.output.rows
      }
    }
  }

  task "dispatch" {
    region = "eu"
    dispatch {
      job     = "etl"
      meta    = { day = param.day, rows = task.inline.output.rows }
      payload = jsonencode({ day = param.day })
    }
  }

  task "child" {
    for_each = toset(["a", "b"])
    run_workflow {
      source = "child"
      name   = "child"
      params = {
        rows  = task.inline.output.rows
        name  = each.key
        token = param.token
      }
    }
    retry {
      max_attempts = 2
    }
  }

  task "approve" {
    when = task.group.output.rows > 10
    approval {
      approvers  = ["alice", "group:${param.day}"]
      timeout    = "12h"
      on_timeout = "approve"
      input "limit" {
        type        = number
        default     = 5
        description = "How many rows may be lost"
      }
      input "pin" {
        sensitive = true
        default   = ""
      }
    }
  }

  task "wait" {
    depends_on = [task.approve]
    wait {
      until = timeadd(run.scheduled_at, "${task.approve.output.limit}h")
    }
  }

  task "call" {
    http {
      method        = "post"
      url           = "https://example.com/load?day=${urlencode(param.day)}"
      headers       = { Authorization = "Bearer ${param.token}", Accept = "application/json" }
      body          = jsonencode({ rows = [for c in task.child : c.output.rows] })
      expect_status = [200, 202]
      timeout       = "20s"
      idempotent    = true
    }
    retry {
      max_attempts = 5
      when         = !strcontains(attempt.message, "400")
    }
  }

  task "join" {
    depends_on = [task.job, task.dispatch, task.wait]
  }

  finally "short" {
    wait {
      duration = "${attempt.number}s"
    }
  }

  finally "confirm" {
    approval {
      on_timeout = "approve"
    }
  }

  output "answer" {
    sensitive = true
    value     = [task.call.output.status, task.call.output.json, task.approve.output.by, task.approve.output.comment, task.approve.output.pin]
  }
}
