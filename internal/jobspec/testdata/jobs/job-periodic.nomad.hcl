job "job-periodic" {
  type = "batch"
  periodic {
    enabled          = true
    crons            = ["*/5 * * * *", "0 0 * * *"]
    prohibit_overlap = true
    time_zone        = "Europe/Berlin"
  }
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
