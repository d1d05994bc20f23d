workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    restart { # ERROR: restart cannot be written here. Cairn repeats attempts itself; write a retry block in the task.
      attempts = 2
    }
    reschedule { # ERROR: reschedule cannot be written here. Cairn repeats attempts itself; write a retry block in the task.
      attempts = 2
    }
    disconnect { # ERROR: write an on_worker_loss block in the task.
      lost_after = "1h"
    }
    update {} # ERROR: Batch work needs no update strategy; leave it out.
    migrate {} # ERROR: Batch work needs no migrate strategy; leave it out.
    scaling "cpu" {} # ERROR: write count in the task.
    periodic {} # ERROR: periodic cannot be written here. A workflow is started by its schedule, which is not supported yet: leave it out, and start the workflow from cron.
    parameterized {} # ERROR: parameterized cannot be written here. A workflow takes its input from param blocks: leave it out, and write param in the workflow.
  }
}
