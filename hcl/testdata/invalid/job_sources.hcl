workflow "w" {
  task "none" {
    job {} # WARNING: The jobs of these tasks run unchanged: none, typo, absolute, outside, computed, 1 more # ERROR: The job block of task none needs source, the path of a job file, such as source = "etl.nomad.hcl"
  }
  task "typo" {
    job {
      source = "files/bach.nomad.hcl" # ERROR: There is no file files/bach.nomad.hcl in the workflow's folder
    }
  }
  task "absolute" {
    job {
      source = "/etc/job.hcl" # ERROR: `job.source` of task absolute names a file: the path is absolute
    }
  }
  task "outside" {
    job {
      source = "../../job.hcl" # ERROR: `job.source` of task outside names a file: the path leads out of the workflow's folder
    }
  }
  task "computed" {
    job {
      source = "files/${task.none.status}.nomad.hcl" # ERROR: `job.source` of task computed names a file: it is read when the workflow is submitted, once, so its path
    }
  }
  task "written_out" {
    job {
      group "g" {} # ERROR: group cannot be written in job
      source = 5 # ERROR: `job.source` of task written_out names a file: a path is text, not a number
    }
  }
}
