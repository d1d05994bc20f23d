workflow "main" {
  concurrency {
    max_runs = 1
  }
  task "a" {
    run_workflow { # ERROR: workflow main runs itself (main -> middle -> main) and has concurrency with max_runs: a run would wait for
      name = "middle"
    }
  }
}

workflow "middle" {
  task "a" {
    run_workflow {
      name = "main"
    }
  }
}

workflow "itself" {
  concurrency {
    max_runs = 3
    on_limit = "skip"
  }
  task "a" {
    when = run.trigger == "manual"
    run_workflow { # ERROR: workflow itself runs itself (itself -> itself) and has concurrency with max_runs: a run would wait for its
      name = "itself"
    }
  }
}
