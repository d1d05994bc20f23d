job "job-multiregion" {
  multiregion {
    strategy {
      max_parallel = 1
      on_failure   = "fail_all"
    }
    region "west" {
      count       = 2
      datacenters = ["west-1"]
      node_pool   = "pool-1"
      meta {
        code = "W"
      }
    }
    region "east" {
      count       = 5
      datacenters = ["east-1", "east-2"]
    }
  }
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
