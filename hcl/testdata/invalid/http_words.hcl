workflow "w" {
  task "a" {
    start_timeout = "1m" # ERROR: The body of task a is http, so start_timeout cannot stand beside it
    on_worker_loss { # ERROR: The body of task a is http, so on_worker_loss cannot stand beside it
      mode = "immediate"
    }
    namespace = "data" # ERROR: namespace is about a worker, and the body of task a, http, runs on none
    env { # ERROR: env is about a worker, and the body of task a, http, runs on none
      A = "1"
    }
    http {
      url = "https://example.com"
    }
    output "rows" {} # ERROR: task a cannot declare outputs
    retry {
      max_attempts  = 3
      on_exit_codes = [1] # ERROR: The body of task a is http, so on_exit_codes cannot be written in its retry
      avoid_nodes   = true # ERROR: The body of task a is http, so avoid_nodes cannot be written in its retry
    }
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = task.a.output.statsu # ERROR: task a has no output statsu
      args    = [task.a.output.status.x, task.a.output.body + 1, upper(task.a.output.status), task.a.output.json.any.thing] # ERROR: It is a number, which has no x: leave .x out.
    }
  }
}
