job "network" {
  group "main" {
    network {
      mode     = "bridge"
      device   = "eth0"
      cidr     = "10.0.0.0/8"
      ip       = "10.0.0.1"
      hostname = "web-${NOMAD_ALLOC_INDEX}"
      mbits    = 10
      port "http" {
        static           = 8080
        to               = 80
        host_network     = "public"
        ignore_collision = true
      }
      port "rpc" {}
      port "admin" {
        to = -1
      }
      dns {
        servers  = ["192.168.1.1"]
        searches = ["example.com"]
        options  = ["ndots:2"]
      }
      cni {
        args = {
          "nomad.region" = "${node.region}"
          plain          = "x"
        }
      }
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
