# Which branch runs is decided at run time, by params and by what tasks found.

workflow "conditions" {
  description = "Skip what is not needed and join again"

  param "mode" {
    type        = string
    default     = "incremental"
    description = "full or incremental"
    validation {
      condition     = contains(["full", "incremental"], param.mode)
      error_message = "mode must be full or incremental."
    }
  }

  task "probe" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo changed=17 >> \"$CAIRN_OUTPUT\""]
    }
    output "changed" {
      type = number
    }
  }

  # A skipped task counts as fine: what comes after it still runs ...
  task "announce" {
    when   = param.mode == "full"
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["a full load takes its time"]
    }
  }

  # ... unless it takes its branch along, down to the next join.
  task "drop_tables" {
    depends_on = [task.probe, task.announce]
    when       = param.mode == "full"
    when_false = "skip_branch"
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["tables dropped"]
    }
  }

  task "load_everything" {
    depends_on = [task.drop_tables]
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["everything loaded"]
    }
  }

  # The other branch looks at what probe found as well.
  task "load_changes" {
    depends_on = [task.announce]
    when       = param.mode == "incremental" && task.probe.output.changed > 0
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["${task.probe.output.changed} changes loaded"]
    }
  }

  # A task without a body joins. none_failed waits for both branches and does not mind a skipped one.
  task "loaded" {
    depends_on   = [task.load_everything, task.load_changes]
    trigger_rule = "none_failed"
  }

  # Whoever reads a task waits for it and counts it: this one looks at both branches, so it needs the same rule.
  task "index" {
    depends_on   = [task.loaded]
    trigger_rule = "none_failed"
    driver       = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["full: ${task.load_everything.status}, changes: ${task.load_changes.status}"]
    }
    output "summary" {
      from = "stdout"
    }
  }

  output "summary" {
    value = task.index.output.summary
  }
}
