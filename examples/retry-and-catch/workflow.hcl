# Two kinds of trouble: one that goes away when tried again, and one that has to be caught.

workflow "retry_and_catch" {
  description = "Retries, a handler that recovers, and a clean-up that runs either way"

  param "primary_works" {
    type        = bool
    default     = false
    description = "Whether the primary source answers"
  }

  # Fails twice with exit code 75 ("try again later"), then works.
  task "download" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo attempt $CAIRN_ATTEMPT; test $CAIRN_ATTEMPT -ge 3 || exit 75; echo bytes=1024 >> \"$CAIRN_OUTPUT\""]
    }
    retry {
      max_attempts  = 5
      delay         = "200ms"
      backoff       = "exponential" # 200ms, 400ms, 800ms, ...
      on_exit_codes = [75]          # any other code fails at once
    }
    output "bytes" {
      type = number
    }
  }

  # The same decision as an expression, with more to look at.
  task "primary" {
    depends_on = [task.download]
    driver     = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "test $1 = true || { echo primary is down >&2; exit 3; }", "sh", tostring(param.primary_works)]
    }
    retry {
      max_attempts = 3
      delay        = "200ms"
      when         = attempt.exit_code != 3 # 3 means down for good: do not try again
    }
  }

  # Runs only because primary failed, and makes good for it: without `recovers` the run would still end failed.
  task "mirror" {
    depends_on   = [task.primary]
    trigger_rule = "one_failed"
    recovers     = true
    driver       = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["serving ${task.download.output.bytes} bytes from the mirror, because primary is ${task.primary.status}"]
    }
  }

  # Whichever of the two worked.
  task "publish" {
    depends_on   = [task.primary, task.mirror]
    trigger_rule = "one_success"
    driver       = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["published"]
    }
  }

  output "bytes" {
    value = task.download.output.bytes
  }
}
