job "inherited-blocks" {
  vault {
    policies = ["job"]
  }
  secret "of_job" {
    provider = "nomad"
    path     = "nomad/jobs/a"
  }
  group "one" {
    vault {
      policies    = ["group"]
      change_mode = "noop"
    }
    secret "of_group" {
      provider = "nomad"
      path     = "nomad/jobs/b"
    }
    task "takes_the_groups" {
      driver = "raw_exec"
    }
    task "has_its_own" {
      driver = "raw_exec"
      vault {
        policies = ["task"]
      }
    }
  }
  group "two" {
    task "takes_the_jobs" {
      driver = "raw_exec"
    }
    task "has_a_secret" {
      driver = "raw_exec"
      secret "of_task" {
        provider = "vault"
        path     = "kv/data/c"
        config {
          engine = "kv_v2"
        }
        env {
          TOKEN = "x"
        }
      }
    }
  }
}
