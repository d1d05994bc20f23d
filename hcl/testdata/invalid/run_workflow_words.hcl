workflow "main" {
  task "a" {
    start_timeout = "1m" # ERROR: The body of task a is run_workflow, so start_timeout cannot stand beside it
    on_worker_loss { # ERROR: The body of task a is run_workflow, so on_worker_loss cannot stand beside it
      mode = "immediate"
    }
    namespace = "data" # ERROR: namespace is about a worker, and the body of task a, run_workflow, runs on none
    run_workflow {
      name   = "child"
      parms  = {} # ERROR: parms is nothing that can be written in run_workflow
      source = "" # ERROR: `run_workflow.source` of task a names a file: the path is empty: write the name of a file
    }
    retry {
      max_attempts  = 2
      on_exit_codes = [1] # ERROR: The body of task a is run_workflow, so on_exit_codes cannot be written in its retry
      avoid_nodes   = true # ERROR: The body of task a is run_workflow, so avoid_nodes cannot be written in its retry
      max_lost      = 2 # ERROR: The body of task a is run_workflow, so max_lost cannot be written in its retry
    }
  }
}

workflow "child" {
  task "a" {}
}
