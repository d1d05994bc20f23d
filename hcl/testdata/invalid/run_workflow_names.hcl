workflow "main" {
  task "nothing" {
    run_workflow {} # ERROR: The run_workflow block of task nothing needs name, a workflow of these files, or source, a file or folder
  }
  task "typo" {
    run_workflow {
      name = "chidl" # ERROR: No workflow chidl is declared in these files, only main or child
    }
  }
  task "registered" {
    run_workflow {
      name = "orders_nightly" # ERROR: No workflow orders_nightly is declared in these files, only main or child
    }
  }
  task "bad_name" {
    run_workflow {
      name = "Child" # ERROR: "Child" is no name for a workflow
    }
  }
  task "computed" {
    run_workflow {
      name = task.typo.status # ERROR: `name` must be a constant: it is needed before anything runs, so it cannot refer to task.typo.status
    }
  }
}

workflow "child" {
  task "a" {}
}
