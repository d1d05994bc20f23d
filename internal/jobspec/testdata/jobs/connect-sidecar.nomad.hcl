job "connect-sidecar" {
  group "main" {
    service {
      name = "api"
      port = "9001"
      connect {
        sidecar_service {
          tags                      = ["x"]
          port                      = "proxy"
          disable_default_tcp_check = true
          meta {
            a = "b"
          }
          proxy {
            local_service_address = "127.0.0.1"
            local_service_port    = 9001
            config {
              envoy_prometheus_bind_addr = "0.0.0.0:9102"
              nested {
                a = 1
              }
            }
            expose {
              path {
                path            = "/metrics"
                protocol        = "http"
                local_path_port = 9001
                listener_port   = "metrics"
              }
            }
            upstreams {
              destination_name        = "db"
              destination_namespace   = "ns"
              destination_partition   = "part"
              destination_peer        = "peer"
              destination_type        = "service"
              local_bind_port         = 5432
              local_bind_address      = "127.0.0.1"
              local_bind_socket_path  = "/tmp/s"
              local_bind_socket_mode  = "0600"
              datacenter              = "dc2"
              mesh_gateway {
                mode = "local"
              }
              config {
                connect_timeout_ms = 5000
              }
            }
            transparent_proxy {
              uid                    = "101"
              outbound_port          = 15001
              exclude_inbound_ports  = ["80"]
              exclude_outbound_ports = [443, 8443]
              exclude_outbound_cidrs = ["10.0.0.0/8"]
              exclude_uids           = ["102"]
              no_dns                 = true
            }
          }
        }
        sidecar_task {
          name           = "proxy"
          driver         = "docker"
          user           = "envoy"
          kill_timeout   = "10s"
          shutdown_delay = "5s"
          kill_signal    = "SIGTERM"
          config {
            image = "envoy:1"
            auth {
              username = "u"
            }
          }
          env {
            A = "b"
          }
          meta {
            c = "d"
          }
          resources {
            cpu = 100
          }
          logs {
            max_files = 2
          }
          volume_mount {
            volume      = "v"
            destination = "/v"
          }
          identity {
            name = "side"
            aud  = ["x"]
          }
        }
      }
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
