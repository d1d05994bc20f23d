# Runs by itself too: cairn run -local examples/child-workflow/region -param region=eu -param orders=3

workflow "region" {
  param "region" {
    type = string
  }
  param "orders" {
    type = number
    validation {
      condition     = param.orders >= 0
      error_message = "orders must not be negative."
    }
  }

  task "load" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo loading $2 orders of $1; echo revenue=$(( $2 * 100 )) >> \"$CAIRN_OUTPUT\"", "sh", param.region, tostring(param.orders)]
    }
    output "revenue" {
      type = number
    }
  }

  output "revenue" {
    value = task.load.output.revenue
  }
}
