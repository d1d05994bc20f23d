job "task-attributes" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      user           = "nobody"
      kill_timeout   = "90s"
      kill_signal    = "SIGINT"
      shutdown_delay = "3s"
      leader         = true
      kind           = "connect-proxy:web"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      meta {
        a = "b"
        n = 1.5
        t = true
      }
      env {
        LEVEL = 3
        NODE  = "${node.unique.name}"
      }
      logs {
        max_files     = 3
        max_file_size = 20
        enabled       = true
        disabled      = false
      }
      restart {
        attempts = 2
      }
      consul {
        cluster = "second"
      }
      schedule {
        cron {
          start    = "0 6 * * *"
          end      = "0 18"
          timezone = "Local"
        }
      }
      csi_plugin {
        id                     = "plugin"
        type                   = "monolith"
        mount_dir              = "/csi"
        stage_publish_base_dir = "/local/csi"
        health_timeout         = "30s"
      }
      action "weather" {
        command = "curl"
        args    = ["-s", "wttr.in"]
      }
      action "plain" {
        command = "true"
      }
      scaling "cpu" {
        enabled = true
        min     = 100
        max     = 1000
        policy {
          cooldown = "1m"
        }
      }
      scaling "mem" {
        max = 2000
      }
    }
  }
}
