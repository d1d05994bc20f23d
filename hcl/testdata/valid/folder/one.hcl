workflow "one" {
  param "day" {
    type        = string
    default     = formatdate("YYYY-MM-DD", run.scheduled_at)
    description = "Business day"
    validation {
      condition     = can(regex("^\\d{4}-\\d{2}-\\d{2}$", param.day))
      error_message = "day must look like 2026-01-31."
    }
  }

  param "options" {
    type = object({
      retries = optional(number, 2)
      tags    = optional(list(string))
    })
    default  = {}
    nullable = true
  }

  param "token" {
    type      = string
    sensitive = true
  }

  task "copy" {
    driver = "raw_exec"
    config {
      command = "copy"
      args    = ["${local.bucket}/${param.day}"]
    }
  }
}
