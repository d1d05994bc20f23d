# Whatever happens, the machine is given back and somebody is told.

workflow "finally" {
  description = "Clean-up and report on every ending"

  param "fail" {
    type        = bool
    default     = false
    description = "Let the work fail, to see what happens then"
  }

  task "reserve" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo machine=m-17 >> \"$CAIRN_OUTPUT\""]
    }
    output "machine" {}
  }

  task "work" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo working on $1; sleep 1; test $2 = false", "sh", task.reserve.output.machine, tostring(param.fail)]
    }
  }

  # Its failure is not the run's: nice to have, no more.
  task "warm_cache" {
    depends_on    = [task.work]
    allow_failure = true
    driver        = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo the cache is gone >&2; exit 1"]
    }
  }

  # Finally tasks run after everything else, on success, failure, timeout and stop alike.
  # They may read every task without waiting for it: all of them are over by now.
  finally "release" {
    timeout = "1m"
    driver  = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["giving back", task.reserve.output.machine]
    }
  }

  # Among themselves they are ordered by depends_on.
  finally "report" {
    depends_on = [task.release]
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [run.workflow, run.status, "failed:", jsonencode(run.failed_tasks)]
    }
    output "line" {
      from = "stdout"
    }
  }
}
