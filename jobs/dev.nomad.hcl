# One Cairn server for a try: it needs no Consul, keeps its runs in a file, and runs tasks as processes beside itself.
#
#   nomad job run -var binary=$PWD/cairn jobs/dev.nomad.hcl

variable "binary" {
  type        = string
  default     = "/usr/local/bin/cairn"
  description = "Path of the cairn program on the machine."
}

job "cairn-dev" {
  type = "service"

  group "server" {
    ephemeral_disk {
      sticky = true
    }

    network {
      port "http" {}
    }

    task "server" {
      driver       = "raw_exec"
      kill_timeout = "30s"
      kill_signal  = "SIGTERM"

      config {
        command = var.binary
        args    = ["agent", "-dev", "-config", "${NOMAD_TASK_DIR}/cairn.hcl"]
      }

      template {
        destination = "${NOMAD_TASK_DIR}/cairn.hcl"
        data        = <<EOT
data_dir = "{{ env "NOMAD_ALLOC_DIR" }}/data/cairn"
http {
  bind = "127.0.0.1:{{ env "NOMAD_PORT_http" }}"
}
EOT
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
