job "connect-gateways" {
  group "main" {
    service {
      name = "ingress"
      connect {
        gateway {
          proxy {
            connect_timeout                     = "5s"
            envoy_gateway_bind_tagged_addresses = true
            envoy_gateway_no_default_bind       = true
            envoy_dns_discovery_type            = "LOGICAL_DNS"
            envoy_gateway_bind_addresses "public" {
              address = "0.0.0.0"
              port    = 8080
            }
            envoy_gateway_bind_addresses "private" {
              address = "10.0.0.1"
            }
            config {
              limit = 1
            }
          }
          ingress {
            tls {
              enabled         = true
              tls_min_version = "TLSv1_2"
              tls_max_version = "TLSv1_3"
              cipher_suites   = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
              sds {
                cluster_name  = "sds"
                cert_resource = "cert"
              }
            }
            listener {
              port     = 8080
              protocol = "http"
              service {
                name                    = "*"
                hosts                   = ["example.com"]
                max_connections         = 10
                max_pending_requests    = 20
                max_concurrent_requests = 30
                tls {
                  enabled = false
                }
                request_headers {
                  add {
                    x = "1"
                  }
                  set {
                    y = "2"
                  }
                  remove = ["z"]
                }
                response_headers {
                  remove = ["server"]
                }
              }
            }
          }
        }
      }
    }
    service {
      name = "terminating"
      connect {
        gateway {
          terminating {
            service {
              name      = "legacy"
              ca_file   = "/ca"
              cert_file = "/cert"
              key_file  = "/key"
              sni       = "legacy.example.com"
            }
          }
        }
      }
    }
    service {
      name = "mesh"
      connect {
        gateway {
          mesh {}
        }
      }
    }
    service {
      name = "native"
      connect {
        native = true
      }
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
