# Every attribute of a policy: constant ones, ones that a param decides, and ones from defaults.
locals {
  patience = "2m"
}

workflow "policies" {
  description  = "Policies of every kind"
  owner        = "data@example.com"
  labels       = { team = "data" }
  namespace    = "etl"
  region       = "global"
  datacenters  = ["dc1", "dc2"]
  node_pool    = param.pool
  priority     = 80
  timeout      = "6h"
  on_failure   = "drain"
  max_parallel = 10

  param "pool" {
    type    = string
    default = "batch"
  }

  param "tries" {
    type     = number
    default  = 3
    nullable = false
  }

  defaults {
    driver        = "raw_exec"
    timeout       = local.patience
    allow_failure = false
    retry {
      max_attempts = 3
      delay        = "10s"
    }
    on_worker_loss {
      stop_after = "10m"
    }
    resources {
      cpu = 100
    }
  }

  task "constant" {
    config {
      command = "x"
    }
    start_timeout = "90s"
    deadline      = "1h"
    retry {
      max_attempts  = 5
      backoff       = "constant"
      jitter        = 0
      on_exit_codes = [1, 75]
      avoid_nodes   = true
      max_lost      = 0
    }
    on_worker_loss {
      mode = "immediate"
    }
  }

  task "long_delay" {
    config {
      command = "x"
    }
    retry {
      delay = "20m"
    }
  }

  task "dynamic" {
    for_each     = toset(["a", "b"])
    max_parallel = param.tries
    min_success  = "50%"
    config {
      command = "x"
    }
    timeout       = "${attempt.number}m"
    allow_failure = param.pool == "spot"
    retry {
      max_attempts = param.tries
      when         = attempt.exit_code != 2 && each.key != "b"
    }
  }

  task "join" {
    depends_on = [task.constant, task.long_delay]
  }

  finally "bounded" {
    timeout = "5m"
    config {
      command = "x"
    }
  }
}

workflow "finally_without_defaults" {
  task "a" {}
  finally "bounded" {
    driver = "raw_exec"
    config {
      command = "x"
    }
  }
}
