# Restores the newest snapshot of Consul into a scratch Consul every night, and reads everything in it. jobs/README.md is the guide.
#
#   nomad job run -var backup=/srv/cairn/backup jobs/drill.nomad.hcl
#   nomad job periodic force cairn-drill

variable "backup" {
  type        = string
  description = "Folder with the snapshots, as the servers have it."
}

variable "binary" {
  type        = string
  default     = "/usr/local/bin/cairn"
  description = "Path of the cairn program on the machines that may do it."
}

variable "consul" {
  type        = string
  default     = "/usr/local/bin/consul"
  description = "Path of the program of Consul there, of the version that the snapshots are of, or newer."
}

variable "prefix" {
  type        = string
  default     = "cairn/"
  description = "Prefix of Cairn's keys in Consul, as the servers have it in consul.prefix."
}

variable "identity" {
  type        = string
  default     = ""
  description = "File with the private key of age there, where snapshots are encrypted."
}

variable "max_age" {
  type        = string
  default     = "3h"
  description = "The job fails where the newest snapshot is older: three times backup.interval."
}

variable "schedule" {
  type        = string
  default     = "30 3 * * *"
  description = "When, as a cron expression in UTC."
}

variable "memory" {
  type        = number
  default     = 1024
  description = "In MB, for Consul and for what reads it. Consul takes some twenty times the size of a snapshot."
}

variable "datacenters" {
  type        = list(string)
  default     = ["*"]
  description = "Where it may run."
}

variable "node_pool" {
  type        = string
  default     = "default"
  description = "Pool of the machines that it may run on."
}

variable "machine" {
  type        = string
  default     = ""
  description = "Name of the machine that does it, as Nomad has it. Empty: any, where all have the folder and the programs."
}

job "cairn-drill" {
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool

  periodic {
    crons            = [var.schedule]
    prohibit_overlap = true
  }

  group "drill" {
    dynamic "constraint" {
      for_each = var.machine == "" ? [] : [var.machine]
      content {
        attribute = "${node.unique.name}"
        value     = constraint.value
      }
    }

    # A drill that failed has failed: it is for people to see, not for another try.
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "drill" {
      driver = "raw_exec"

      config {
        command = var.binary
        args = concat(
          ["operator", "snapshot", "drill", "-folder", var.backup, "-consul", var.consul, "-prefix", var.prefix, "-max-age", var.max_age],
          var.identity == "" ? [] : ["-identity", var.identity],
        )
      }

      resources {
        cpu    = 500
        memory = var.memory
      }
    }
  }
}
