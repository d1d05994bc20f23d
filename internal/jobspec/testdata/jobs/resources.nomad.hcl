job "resources" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      resources {
        cpu        = 500
        cores      = 2
        memory     = 256
        memory_max = 512
        disk       = 100
        iops       = 10
        secrets    = 20
        numa {
          affinity = "require"
          devices  = ["nvidia/gpu"]
        }
        device "nvidia/gpu" {
          count = 2
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "2 GiB"
          }
          affinity {
            attribute = "${device.model}"
            regexp    = "^Tesla"
            weight    = 10
          }
        }
        network {
          mbits = 20
          port "http" {}
          port "db" {
            static = 5432
          }
        }
      }
    }
  }
}
