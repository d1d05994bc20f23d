job "network-reserved-only" {
  group "main" {
    network {
      reserved_ports "db" {
        static = 5432
      }
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
