job "services" {
  group "main" {
    service {
      name                = "web-${NOMAD_TASK_NAME}"
      provider            = "consul"
      cluster             = "default"
      kind                = "api"
      port                = "http"
      address             = "10.0.0.1"
      address_mode        = "host"
      tags                = ["a", "b"]
      canary_tags         = ["canary"]
      enable_tag_override = true
      on_update           = "require_healthy"
      task                = "work"
      meta {
        key = "value"
      }
      canary_meta {
        key = "canary"
      }
      tagged_addresses {
        lan = "10.0.0.1"
      }
      weights {
        passing = 10
        warning = 1
      }
      identity {
        aud = ["consul.io"]
        ttl = "1h"
      }
      check_restart {
        limit           = 3
        grace           = "90s"
        ignore_warnings = true
      }
      check {
        name                     = "alive"
        type                     = "http"
        path                     = "/health"
        port                     = "http"
        protocol                 = "https"
        method                   = "POST"
        body                     = "{}"
        interval                 = "10s"
        timeout                  = "2s"
        expose                   = true
        address_mode             = "host"
        advertise                = "10.0.0.2"
        initial_status           = "passing"
        notes                    = "looks at the door"
        tls_server_name          = "web"
        tls_skip_verify          = true
        task                     = "work"
        success_before_passing   = 3
        failures_before_critical = 2
        failures_before_warning  = 1
        on_update                = "ignore"
        header {
          Authorization = ["Basic Zm9v"]
          X-Two         = ["a", "b"]
        }
        check_restart {
          limit = 5
        }
      }
      check {
        type         = "grpc"
        grpc_service = "svc"
        grpc_use_tls = true
        interval     = "10s"
        timeout      = "2s"
      }
      check {
        type     = "script"
        command  = "/bin/check"
        args     = ["-a"]
        interval = "10s"
        timeout  = "2s"
      }
    }
    service {
      name     = "simple"
      provider = "nomad"
    }
    task "work" {
      driver = "raw_exec"
      service {
        name = "of-task"
        port = "8080"
      }
    }
  }
}
