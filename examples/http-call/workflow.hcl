# Ask a service, then act on the answer. The call is made by the process that schedules: no task needs curl.

workflow "http_call" {
  description = "Two calls and what comes back"

  param "url" {
    type        = string
    default     = "http://127.0.0.1:8000/"
    description = "Where the service is, with a slash at the end"
  }

  locals {
    usd = try(task.rates.output.json.usd, 1) # an answer without it: one for one
  }

  task "rates" {
    http {
      url     = "${param.url}rates.json"
      headers = { Accept = "application/json" }
      timeout = "5s"
    }
    retry {
      max_attempts = 3
      delay        = "1s"
    }
  }

  task "convert" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["100 EUR are ${100 * local.usd} USD"]
    }
    output "line" {
      from = "stdout"
    }
  }

  # Asks whether something is there: both answers are fine.
  task "holiday" {
    http {
      method        = "HEAD"
      url           = "${param.url}holiday"
      expect_status = [200, 404]
    }
  }

  output "line" {
    value = task.convert.output.line
  }
  output "holiday" {
    value = task.holiday.output.status == 200
  }
}
