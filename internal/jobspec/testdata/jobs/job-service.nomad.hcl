job "job-service" {
  type = "service"
  update {
    stagger           = "30s"
    max_parallel      = 2
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "5m"
    progress_deadline = "10m"
    canary            = 1
    auto_revert       = true
    auto_promote      = true
  }
  migrate {
    max_parallel     = 2
    health_check     = "task_states"
    min_healthy_time = "10s"
    healthy_deadline = "5m"
  }
  group "web" {
    count = 3
    update {
      max_parallel = 3
    }
    migrate {
      max_parallel = 1
    }
    task "web" {
      driver = "docker"
      config {
        image = "web:1"
      }
    }
  }
}
