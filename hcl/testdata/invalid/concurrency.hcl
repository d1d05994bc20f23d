workflow "none" {
  concurrency {} # ERROR: Concurrency needs max_runs: how many runs of workflow none may go at the same time
  task "a" {}
}

workflow "values" {
  concurrency {
    max_runs = 0 # ERROR: `max_runs` must be a whole number from 1 to 1000000
    on_limit = "wait" # ERROR: `on_limit` must be "queue", "skip" or "cancel_running"
    max_run  = 1 # ERROR: max_run is nothing that can be written in concurrency
  }
  concurrency { # ERROR: A workflow has one concurrency block
    max_runs = 1
  }
  task "a" {}
}

workflow "computed" {
  param "n" {
    type = number
  }
  concurrency "x" { # ERROR: concurrency takes no label: write concurrency { … }
    max_runs = param.n # ERROR: `max_runs` must be a constant: it is needed before anything runs, so it cannot refer to param.n
  }
  task "a" {}
}
