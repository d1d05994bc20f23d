job "job-attributes" {
  id          = "job-attributes-id"
  name        = "Job with every attribute"
  region      = "global"
  namespace   = "default"
  type        = "batch"
  priority    = 70
  all_at_once = true
  datacenters = ["dc1", "dc2"]
  node_pool   = "build"

  meta {
    owner = "data"
    level = 3
  }

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }
  affinity {
    attribute = "${node.datacenter}"
    value     = "dc1"
    weight    = 60
  }
  spread {
    attribute = "${node.datacenter}"
    weight    = 50
    target "dc1" {
      percent = 70
    }
    target "dc2" {
      percent = 30
    }
  }
  reschedule {
    attempts       = 3
    interval       = "24h"
    delay          = "5s"
    delay_function = "exponential"
    max_delay      = "1h"
    unlimited      = false
  }
  ui {
    description = "A job that says everything"
    link {
      label = "Guide"
      url   = "https://example.com/guide"
    }
    link {
      label = "Code"
      url   = "https://example.com/code"
    }
  }
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        command = "true"
      }
    }
  }
}
