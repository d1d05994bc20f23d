workflow "w" {
  task "empty" {
    group {} # ERROR: The group of task empty has no task
  }
  task "labelled" {
    group "web" { # ERROR: group takes no label: write group { … }
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "only_helpers" {
    group { # ERROR: Every task of this group has a lifecycle block, so none does the work that the group is for
      task "helper" {
        driver = "raw_exec"
        lifecycle {
          hook = "prestart"
        }
        config {
          command = "x"
        }
      }
    }
  }
  task "doubled" {
    group {
      task "main" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
      task "main" { # ERROR: The group has a task "main" at group_tasks.hcl:30 already. Each task of a group has a name of its own.
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
}
