# Eight mirrors, of which some are down: enough is enough.

workflow "partial_success" {
  description = "A fan-out that may lose some of its instances"
  on_failure  = "drain" # after a failure that counts, start nothing new and let running tasks end

  param "down" {
    type        = set(string)
    default     = ["m3", "m7"]
    description = "The mirrors that do not answer"
  }

  locals {
    mirrors = [for n in range(1, 9) : { name = "m${n}", weight = n }]
  }

  task "sync" {
    for_each     = local.mirrors
    key          = each.value.name # a list needs a key: the identity of an instance, whatever its position
    max_parallel = 3               # three at a time
    min_success  = "75%"           # six of eight will do
    timeout      = "10s"           # of one attempt
    deadline     = "1m"            # of all attempts of one instance together
    driver       = "raw_exec"
    config {
      command = "/bin/sh"
      args = [
        "-c", "case \",$3,\" in *,$1,*) echo $1 does not answer >&2; exit 1;; esac; sleep 0.2; echo weight=$2 >> \"$CAIRN_OUTPUT\"",
        "sh", each.key, tostring(each.value.weight), join(",", param.down),
      ]
    }
    retry {
      max_attempts = 2
      delay        = "200ms"
      backoff      = "constant"
    }
    output "weight" {
      type    = number
      default = 0 # what an instance that failed reads as
    }
  }

  task "summary" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args = [
        "in sync:", jsonencode([for name, m in task.sync : name if m.status == "succeeded"]),
        "weight:", tostring(sum([for m in values(task.sync) : m.output.weight])),
      ]
    }
    output "line" {
      from = "stdout"
    }
  }

  output "in_sync" {
    value = [for name, m in task.sync : name if m.status == "succeeded"]
  }
}
