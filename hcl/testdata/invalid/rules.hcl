workflow "w" {
  task "a" {}
  task "no_dependencies" {
    trigger_rule = "one_failed" # ERROR: task no_dependencies has the trigger_rule one_failed but no depends_on
  }
  task "reference_only" {
    trigger_rule = "all_failed" # ERROR: this rule looks at depends_on only: references just wait. Write depends_on.
    when         = task.a.status == "failed"
  }
  task "none_failed_alone" {
    trigger_rule = "none_failed" # ERROR: task none_failed_alone has the trigger_rule none_failed but depends on nothing.
  }
  task "none_failed_by_reference" {
    trigger_rule = "none_failed"
    when         = task.a.status == "succeeded"
  }
  task "mistyped" {
    depends_on   = [task.a]
    trigger_rule = "one_faild" # ERROR: `trigger_rule` must be "all_success", "none_failed", "all_done", "one_success", "one_failed" or "all_failed". Did you mean `one_failed`?
  }
  task "recovers" {
    depends_on   = [task.a]
    trigger_rule = "all_done"
    recovers     = true # ERROR: recovers = true belongs to a task that handles a failure: one with trigger_rule one_failed or all_failed. The rule of task recovers is all_done.
  }
  task "when_false" {
    when_false = "skip_branch" # ERROR: when_false says what happens when `when` is false, and task when_false has no `when`.
  }
  task "dynamic_rule" {
    depends_on   = [task.a]
    trigger_rule = run.id # ERROR: `trigger_rule` must be a constant: it is needed before anything runs, so it cannot refer to run.id.
  }
}
