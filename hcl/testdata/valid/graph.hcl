# Edges, written and implied, through locals too, and every trigger rule.
workflow "graph" {
  locals {
    rows   = task.count.output.rows
    report = "rows: ${local.rows}, on ${node.unique.name}"
  }

  task "count" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type    = number
      default = 0
    }
    output "line" {
      from    = "stdout"
      pattern = "rows=(\\d+)"
    }
    output "detail" {
      type      = object({ a = string, b = optional(number, 7) })
      default   = { a = "x" }
      sensitive = true
    }
  }

  task "through_locals" {
    driver = "raw_exec"
    config {
      command = "x"
      args    = [local.report]
    }
  }

  task "fan" {
    for_each = { for n in range(local.rows) : "k${n}" => n }
    driver   = "raw_exec"
    config {
      command = "x"
      args    = [each.value]
    }
    output "file" {}
  }

  task "listed" {
    for_each = [for k, t in task.fan : { name = k, file = t.output.file }]
    key      = each.value.name
    driver   = "raw_exec"
    config {
      command = "x"
      args    = [each.value.file]
    }
  }

  task "numbered" {
    count  = local.rows
    driver = "raw_exec"
    config {
      command = "x"
      args    = [each.index]
    }
  }

  task "skips" {
    depends_on = [task.count]
    when       = task.fan.status == "succeeded"
    when_false = "skip_branch"
  }

  task "none_failed" {
    depends_on   = [task.skips]
    trigger_rule = "none_failed"
  }

  task "all_done" {
    trigger_rule = "all_done"
    when         = task.count.status != "failed"
  }

  task "one_success" {
    depends_on   = [task.count, task.skips]
    trigger_rule = "one_success"
  }

  task "catch" {
    depends_on   = [task.count]
    trigger_rule = "one_failed"
    recovers     = true
  }

  task "all_failed" {
    depends_on   = [task.count, task.fan]
    trigger_rule = "all_failed"
  }

  finally "report" { # WARNING: The body of task report reads sensitive values.
    depends_on = [task.first]
    driver     = "raw_exec"
    config {
      command = "x"
      args    = [run.status, join(",", run.failed_tasks), task.count.output.detail.a]
    }
  }

  finally "first" {
    when = run.status == "failed"
  }

  output "rows" {
    value = local.rows
  }
}
