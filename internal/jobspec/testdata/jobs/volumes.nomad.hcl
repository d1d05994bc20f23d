job "volumes" {
  group "main" {
    volume "data" {
      type            = "csi"
      source          = "data"
      read_only       = true
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      per_alloc       = true
      mount_options {
        fs_type     = "ext4"
        mount_flags = ["noatime", "ro"]
      }
    }
    volume "host" {
      type   = "host"
      source = "host"
      sticky = true
    }
    task "work" {
      driver = "raw_exec"
      volume_mount {
        volume           = "data"
        destination      = "/data"
        read_only        = true
        propagation_mode = "private"
        selinux_label    = "Z"
      }
      volume_mount {
        volume      = "host"
        destination = "${NOMAD_TASK_DIR}/host"
      }
    }
  }
}
