workflow "w" {
  task "service" {
    job { # WARNING: The jobs of these tasks run unchanged: service, periodic, parameterized
      source = "files/service.nomad.hcl"
    }
  }
  task "periodic" {
    job {
      source = "files/periodic.nomad.hcl"
    }
  }
  task "parameterized" {
    job {
      source = "files/parameterized.nomad.hcl"
    }
  }
}
