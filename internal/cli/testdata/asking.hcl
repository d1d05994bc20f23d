# Asks for approval itself and in a child run, and shows what was given.
workflow "asking" {
  task "release" {
    approval {
      approvers = ["ada", "bob"]
      input "limit" {
        type    = number
        default = 5
      }
      input "ticket" {
        type = string
      }
    }
  }
  task "show" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["${task.release.output.by} ${task.release.output.comment} ${task.release.output.limit} ${task.release.output.ticket}"]
    }
    output "line" {
      from = "stdout"
    }
  }
  task "nested" {
    run_workflow {
      name = "inner"
    }
  }
  output "line" {
    value = task.show.output.line
  }
}

workflow "inner" {
  task "confirm" {
    for_each = toset(["eu", "us"])
    approval {}
  }
}

workflow "alone" {
  task "confirm" {
    approval {}
  }
  task "after" {
    depends_on = [task.confirm]
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}
