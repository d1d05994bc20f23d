workflow "w" {
  task "missing" {
    job { # WARNING: The jobs of these tasks run unchanged: missing, unknown, wrong_type, no_map # ERROR: The job file files/batch.nomad.hcl needs a value for its variable day: write vars = { day = … } in job of
      source = "files/batch.nomad.hcl"
    }
  }
  task "unknown" {
    job {
      source = "files/batch.nomad.hcl"
      vars = {
        day  = "2026-01-31"
        rwos = 3 # ERROR: The job file files/batch.nomad.hcl declares no variable rwos
      }
    }
  }
  task "wrong_type" {
    job {
      source = "files/batch.nomad.hcl"
      vars = {
        day  = "2026-01-31"
        rows = "many" # ERROR: The variable rows of the job file must be a number: a number is required
      }
    }
  }
  task "no_map" {
    job {
      source = "files/batch.nomad.hcl"
      vars   = ["2026-01-31"] # ERROR: `job.vars` of task no_map must be variables by name, such as { day = param.day }, not a list
    }
  }
}
