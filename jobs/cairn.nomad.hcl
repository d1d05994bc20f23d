# Three Cairn servers. jobs/README.md is the guide; what there is to set is in the variables.
#
#   nomad acl policy apply -namespace default -job cairn cairn jobs/policies/nomad.hcl   (where Nomad has ACLs)
#   nomad job run -var binary=/usr/local/bin/cairn jobs/cairn.nomad.hcl

variable "binary" {
  type        = string
  default     = "/usr/local/bin/cairn"
  description = "Path of the cairn program on every machine that may run a server."
}

variable "driver" {
  type        = string
  default     = "raw_exec"
  description = "Driver that runs it: raw_exec, or exec where the program and the certificates are in its chroot."
}

variable "servers" {
  type        = number
  default     = 3
  description = "How many servers there are. One leads and the others stand by: three outlive any two of them."
}

variable "datacenters" {
  type        = list(string)
  default     = ["*"]
  description = "Where servers may run."
}

variable "node_pool" {
  type        = string
  default     = "default"
  description = "Pool of the machines that servers may run on."
}

variable "own_machines" {
  type        = bool
  default     = true
  description = "Whether every server must have a machine of its own. False puts several on one, for a try."
}

variable "nomad_address" {
  type        = string
  default     = "http://127.0.0.1:4646"
  description = "URL of the Nomad agent on each machine."
}

variable "moved" {
  type        = list(string)
  default     = []
  description = "Names of Nomad's regions and data centres that have become others, as in north=south. See the operator's guide."
}

variable "consul_address" {
  type        = string
  default     = "127.0.0.1:8500"
  description = "Address of the Consul agent on each machine."
}

variable "consul_token" {
  type        = string
  default     = "none"
  description = "Where the Consul token comes from: none, identity (Nomad's workload identity for Consul), or variable (consul_token in the Nomad variable nomad/jobs/cairn)."

  validation {
    condition     = contains(["none", "identity", "variable"], var.consul_token)
    error_message = "The consul_token must be none, identity or variable."
  }
}

variable "access" {
  type        = string
  default     = "nomad"
  description = "Who may use the API: nomad asks Nomad with the caller's token. none is for loopback, or for mTLS."
}

variable "tls" {
  type        = string
  default     = ""
  description = "Folder on every machine with ca.pem, cert.pem and key.pem, to serve the API over TLS. Empty: not over TLS."
}

variable "archive" {
  type        = string
  default     = ""
  description = "Folder for runs that have left Consul. On storage that all servers share, whichever leads shows all of them. Empty: each keeps what it archived, on its sticky disk."
}

variable "backup" {
  type        = string
  default     = ""
  description = "Folder for snapshots of Consul, on storage that all servers share and that outlives their machines. Empty: none are taken. See the operator's guide for the policy."
}

variable "log_level" {
  type        = string
  default     = "INFO"
  description = "What servers log, and worse."
}

job "cairn" {
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 80 # above what it runs: without it nothing goes on

  # One server after the other, so that the others go on meanwhile. The leader hands over before it ends.
  update {
    max_parallel     = 1
    health_check     = "task_states"
    min_healthy_time = "10s"
    healthy_deadline = "2m"
    auto_revert      = true
  }

  group "servers" {
    count = var.servers

    dynamic "constraint" {
      for_each = var.own_machines ? [true] : []
      content {
        distinct_hosts = true
      }
    }

    # Zones fail together.
    spread {
      attribute = "${node.datacenter}"
    }

    # What a server keeps for itself stays with it on its machine: the newest state of the store it has seen, and the archive.
    ephemeral_disk {
      sticky = true
      size   = 1000
    }

    # A server that ends is started again for ever, and elsewhere if need be.
    restart {
      interval = "1m"
      attempts = 5
      delay    = "5s"
      mode     = "delay"
    }
    reschedule {
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "5m"
      unlimited      = true
    }

    network {
      port "http" {}
    }

    # There is no service block: a server registers itself in Consul, with the checks that its leadership is bound to.

    task "server" {
      driver       = var.driver
      kill_timeout = "30s"
      kill_signal  = "SIGTERM"

      config {
        command = var.binary
        args    = ["agent", "-config", "${NOMAD_TASK_DIR}/cairn.hcl"]
      }

      # Cairn's own Nomad token: the policy of the job holds for it.
      identity {
        file = true
      }

      dynamic "consul" {
        for_each = var.consul_token == "identity" ? [true] : []
        content {}
      }

      dynamic "template" {
        for_each = var.consul_token == "variable" ? [true] : []
        content {
          destination = "${NOMAD_SECRETS_DIR}/consul_token"
          perms       = "600"
          change_mode = "restart"
          data        = "{{ with nomadVar \"nomad/jobs/cairn\" }}{{ .consul_token }}{{ end }}"
        }
      }

      template {
        destination = "${NOMAD_TASK_DIR}/cairn.hcl"
        change_mode = "restart"
        data        = <<EOT
name      = "cairn-{{ env "NOMAD_ALLOC_INDEX" }}"
data_dir  = "{{ env "NOMAD_ALLOC_DIR" }}/data/cairn"
log_level = "${var.log_level}"
http {
  bind      = "{{ env "NOMAD_ADDR_http" }}"
  advertise = "{{ env "NOMAD_ADDR_http" }}"
}
access {
  mode = "${var.access}"
}
nomad {
  address    = "${var.nomad_address}"
  token_file = "{{ env "NOMAD_SECRETS_DIR" }}/nomad_token"
  moved      = ${jsonencode(var.moved)}
}
consul {
  address = "${var.consul_address}"
%{if var.consul_token != "none"~}
  token_file = "{{ env "NOMAD_SECRETS_DIR" }}/consul_token"
%{endif~}
}
%{if var.archive != ""~}
archive {
  folder = "${var.archive}"
}
%{endif~}
backup {
%{if var.backup != ""~}
  folder = "${var.backup}"
%{else~}
  enabled = false
%{endif~}
}
%{if var.tls != ""~}
tls {
  http      = true
  ca_file   = "${var.tls}/ca.pem"
  cert_file = "${var.tls}/cert.pem"
  key_file  = "${var.tls}/key.pem"
}
%{endif~}
EOT
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
