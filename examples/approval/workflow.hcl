# Build, let it cool down, ask, roll out.

workflow "approval" {
  description = "Somebody decides, or time does"

  param "patience" {
    type        = string
    default     = "2s"
    description = "How long to wait for an answer"
  }
  param "silence" {
    type        = string
    default     = "approve"
    description = "What it means that nobody answered"
    validation {
      condition     = contains(["approve", "reject"], param.silence)
      error_message = "silence is approve or reject."
    }
  }

  task "build" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo version=1.4.2 >> \"$CAIRN_OUTPUT\""]
    }
    output "version" {}
  }

  # A timer: it takes no worker.
  task "cool_down" {
    depends_on = [task.build]
    wait {
      duration = "1s"
    }
  }

  task "ask" {
    depends_on = [task.cool_down]
    approval {
      timeout    = param.patience
      on_timeout = param.silence
      input "percent" {
        type        = number
        default     = 10
        description = "How much of the fleet gets it first"
      }
    }
  }

  task "roll_out" {
    depends_on = [task.ask]
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["rolling", task.build.output.version, "out to", "${task.ask.output.percent}%", "said", coalesce(task.ask.output.by, "nobody")]
    }
    output "line" {
      from = "stdout"
    }
  }

  task "keep" {
    depends_on   = [task.ask]
    trigger_rule = "one_failed"
    recovers     = true
    driver       = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["keeping the version before", task.build.output.version]
    }
  }

  output "decision" {
    value = coalesce(task.roll_out.output.line, "kept")
  }
}
