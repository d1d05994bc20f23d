# One child run for each region, and their results together.

workflow "all_regions" {
  description = "A workflow that runs another one"

  param "regions" {
    type    = map(number)
    default = { eu = 3, us = 2 }
  }

  task "region" {
    for_each     = param.regions
    max_parallel = 2
    run_workflow {
      source = "region"
      params = {
        region = each.key
        orders = each.value
      }
    }
    retry {
      max_attempts = 2
      delay        = "1s"
    }
  }

  task "report" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [jsonencode({ for name, t in task.region : name => t.output.revenue })]
    }
  }

  output "revenue" {
    value = sum([for t in values(task.region) : t.output.revenue])
  }
}
