# A whole Nomad group as one task: a helper that runs first, a sidecar, and the work itself. For Nomad only.

workflow "sidecar" {
  description = "Several Nomad tasks that run together"

  param "words" {
    type    = list(string)
    default = ["to", "be", "or", "not", "to", "be"]
  }

  task "count" {
    group {
      # Shared by the tasks of the group, like the file $CAIRN_OUTPUT.
      ephemeral_disk {
        size = 50
      }

      task "prepare" {
        driver = "raw_exec"
        lifecycle {
          hook = "prestart"
        }
        config {
          command = "/bin/sh"
          args    = ["-c", "for w; do echo \"$w\"; done > \"$NOMAD_ALLOC_DIR/data/words\"", "sh", join(" ", param.words)]
        }
      }

      task "heartbeat" {
        driver = "raw_exec"
        lifecycle {
          hook    = "prestart"
          sidecar = true
        }
        config {
          command = "/bin/sh"
          args    = ["-c", "while :; do echo counting; sleep 1; done"]
        }
        resources {
          cpu    = 20
          memory = 16
        }
      }

      task "count" {
        driver = "raw_exec"
        config {
          command = "/bin/sh"
          args    = ["-c", "echo words=$(wc -w < \"$NOMAD_ALLOC_DIR/data/words\") >> \"$CAIRN_OUTPUT\""]
        }
      }
    }
    output "words" {
      type = number
    }
  }

  output "words" {
    value = task.count.output.words
  }
}
