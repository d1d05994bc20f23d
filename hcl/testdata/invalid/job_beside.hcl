workflow "w" {
  task "a" {
    datacenters = ["dc1"] # ERROR: The job file of task a is run unchanged: write datacenters there
    namespace   = "data"
    resources { # ERROR: The job file of task a is run unchanged: write resources there
      cpu = 100
    }
    job { # WARNING: The jobs of these tasks run unchanged: a, b
      source = "files/batch.nomad.hcl"
      vars   = { day = "x" }
    }
    output "rows" {} # ERROR: task a cannot declare outputs
  }
  task "b" {
    constraint { # ERROR: The job that task b dispatches is registered already: write constraint in its job file
      attribute = "$${attr.kernel.name}"
      value     = "linux"
    }
    dispatch {
      job = "etl"
    }
    output "rows" {} # ERROR: task b cannot declare outputs
  }
}
