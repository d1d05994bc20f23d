# Longer texts stand in files of their own. They are read when the workflow is submitted, together with the workflow.

locals {
  queries = {
    orders  = file("awk/orders.awk")
    returns = file("awk/returns.awk")
  }
}

workflow "files" {
  description = "A query from a file for each instance, and a mail from a template"

  param "greeting" {
    type    = string
    default = "Good morning"
  }

  # One instance for each file: the paths are constant, what is done with the texts is not.
  task "count" {
    for_each = local.queries
    driver   = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "printf '3 orders\\n2 returns\\n4 orders\\n' | awk \"$1\" >> \"$CAIRN_OUTPUT\"", "sh", each.value]
    }
    output "n" {
      type = number
    }
  }

  task "mail" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args = [templatefile("mail.tpl", {
        greeting = param.greeting
        counts   = { for name, t in task.count : name => t.output.n }
      })]
    }
    output "last" {
      from    = "stdout"
      pattern = "Queries: (\\w+)"
    }
  }

  output "counts" {
    value = { for name, t in task.count : name => t.output.n }
  }
  output "queries" {
    value = task.mail.output.last
  }
}
