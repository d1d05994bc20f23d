workflow "nightly_orders" {
  description = "Load yesterday's orders into the warehouse"

  param "day" {
    type        = string
    default     = formatdate("YYYY-MM-DD", timeadd(run.scheduled_at, "-24h"))
    description = "Business day to load"
    validation {
      condition     = can(regex("^\\d{4}-\\d{2}-\\d{2}$", param.day))
      error_message = "day must look like 2026-01-31."
    }
  }
  param "regions" {
    type    = list(string)
    default = ["eu", "us", "apac"]
  }

  locals { landing = "s3://landing/${param.day}" }

  defaults {                       # merged under every task
    timeout = "1h"
    retry {
      max_attempts = 3
      delay        = "10s"
      backoff      = "exponential"
      max_delay    = "5m"
    }
  }

  task "extract" {
    for_each = toset(param.regions)
    driver   = "docker"
    config {
      image = "registry.local/extract:4"
      args  = ["--region", each.key, "--to", "${local.landing}/${each.key}", "--node", "${node.unique.name}"]
    }
    resources {
      cpu    = 500
      memory = 256
    }
    output "rows" { type = number }          # the program appends rows=42 to the file $CAIRN_OUTPUT
  }

  task "check" {
    driver = "exec"
    config {
      command = "check-counts"               # refers to task.extract, so it depends on it
      args    = [jsonencode({ for region, t in task.extract : region => t.output.rows })]
    }
  }

  task "load" {
    depends_on = [task.check]
    driver     = "exec"
    config {
      command = "load"
      args    = [local.landing]
    }
    retry {
      max_attempts = 5
      when         = attempt.exit_code != 2
    }
  }

  task "rollback" {
    depends_on   = [task.load]
    trigger_rule = "one_failed"               # runs because load failed; the run still ends failed
    driver       = "exec"
    config {
      command = "rollback"
      args    = [param.day]
    }
  }

  finally "report" {
    driver = "exec"
    config {
      command = "report"
      args    = [run.id, run.status, jsonencode(run.failed_tasks)]
    }
  }
}
