job "job-periodic-one" {
  type = "batch"
  periodic {
    cron = "@daily"
  }
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
