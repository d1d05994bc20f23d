# Sensitive values wherever they can go. The words that must never show all hold "hunter2" or its base64, or are numbers.
workflow "secret" {
  param "token" {
    type      = string
    sensitive = true
    validation {
      condition     = startswith(param.token, "hunter2")
      error_message = "the token ${param.token} does not begin as it should."
    }
  }
  param "code" {
    type      = number
    sensitive = true
    default   = 471147114711
  }
  locals {
    header = "Bearer ${param.token}"
  }

  task "make" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo made=$1 >> $CAIRN_OUTPUT", "sh", "made-${base64encode(param.token)}"]
    }
    env {
      HEADER = local.header
    }
    output "made" {
      sensitive = true
    }
  }

  task "use" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "exit 3", "sh", task.make.output.made, tostring(param.code)]
    }
  }

  task "mistyped" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo number=$1 >> $CAIRN_OUTPUT", "sh", param.token]
    }
    output "number" {
      type      = number
      sensitive = true
    }
  }

  task "unreadable" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "exit 0", "sh", jsondecode(task.make.output.made).nothing]
    }
  }

  task "nested" {
    run_workflow {
      name   = "inner"
      params = { password = "${param.token}-inner", plain = local.header }
    }
  }

  task "choosy" {
    run_workflow {
      name   = "inner"
      params = { password = param.token, plain = "x", digit = task.make.output.made }
    }
  }

  task "ask" {
    depends_on   = [task.use, task.mistyped, task.unreadable, task.nested, task.choosy]
    trigger_rule = "all_done"
    approval {
      input "pin" {
        type      = number
        sensitive = true
      }
    }
  }

  output "made" {
    value     = task.make.output.made
    sensitive = true
  }
}

workflow "inner" {
  param "password" {
    type      = string
    sensitive = true
  }
  param "plain" {
    type = string
  }
  param "digit" {
    type    = number
    default = 1
  }

  task "one" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "exit 4", "sh", param.password, param.plain]
    }
  }

  output "password" {
    value     = param.password
    sensitive = true
  }
}
