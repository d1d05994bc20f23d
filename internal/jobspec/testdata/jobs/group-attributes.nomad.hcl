job "group-attributes" {
  group "main" {
    count                        = 2
    shutdown_delay               = "5s"
    max_run_duration             = "2h"
    stop_after_client_disconnect = "1m"
    max_client_disconnect        = "1h"
    prevent_reschedule_on_lost   = true

    meta {
      team = "etl"
    }
    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }
    affinity {
      attribute = "${meta.rack}"
      operator  = "!="
      value     = "r1"
      weight    = -50
    }
    spread {
      attribute = "${meta.rack}"
    }
    restart {
      attempts         = 0
      interval         = "10m"
      delay            = "15s"
      mode             = "fail"
      render_templates = true
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    ephemeral_disk {
      sticky  = true
      migrate = true
      size    = 500
    }
    consul {
      namespace = "prod"
      cluster   = "default"
      partition = "part"
    }
    scaling {
      enabled = true
      min     = 1
      max     = 10
      type    = "horizontal"
      policy {
        cooldown            = "2m"
        evaluation_interval = "5s"
        check "load" {
          source = "prometheus"
          query  = "avg(load)"
          strategy "target-value" {
            target = 70.5
          }
        }
      }
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
