workflow "w" {
  task "service" {
    job { # WARNING: The jobs of these tasks run unchanged: service, periodic, parameterized # ERROR: The job file holds a service, which is what Nomad takes a job for that writes no type
      source = "files/service.nomad.hcl"
    }
  }
  task "periodic" {
    job { # ERROR: The job file holds a periodic job, which never ends
      source = "files/periodic.nomad.hcl"
    }
  }
  task "parameterized" {
    job { # ERROR: The job file holds a parameterized job, which runs only when it is dispatched: register it with `nomad job
      source = "files/parameterized.nomad.hcl"
    }
  }
}
