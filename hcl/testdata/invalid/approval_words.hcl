workflow "w" {
  task "a" {
    timeout       = "12h" # ERROR: The body of task a is approval, so timeout cannot stand beside it
    start_timeout = "1m" # ERROR: The body of task a is approval, so start_timeout cannot stand beside it
    deadline      = "1d" # ERROR: The body of task a is approval, so deadline cannot stand beside it
    retry { # ERROR: The body of task a is approval, so retry cannot stand beside it
      max_attempts = 2
    }
    on_worker_loss { # ERROR: The body of task a is approval, so on_worker_loss cannot stand beside it
      mode = "immediate"
    }
    approval {}
    output "answer" {} # ERROR: task a cannot declare outputs
    user        = "root" # ERROR: user is about a worker, and the body of task a, approval, runs on none
    constraint {} # ERROR: constraint is about a worker, and the body of task a, approval, runs on none
    datacenters = ["dc1"] # ERROR: datacenters is about a worker, and the body of task a, approval, runs on none
    approvers   = ["alice"] # ERROR: approvers belongs into the approval block of task a
  }
}
