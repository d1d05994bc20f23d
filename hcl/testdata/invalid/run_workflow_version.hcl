workflow "w" {
  task "old" {
    run_workflow {
      source  = "child_pair/two.hcl"
      version = "sha256:0123456789" # ERROR: Workflow two has the version sha256:418d3305bc847f69cd03988cafac1bda2c13123d3c7da35e2ed86ac6bdcb3651, and
    }
  }
  task "short" {
    run_workflow {
      source  = "child_pair/two.hcl"
      version = "sha256:0123" # ERROR: `run_workflow.version` of task short must be the beginning of a hash: sha256: and at least 8 of its digits
    }
  }
  task "no_hash" {
    run_workflow {
      source  = "child_pair/two.hcl"
      version = "1.2.3" # ERROR: `run_workflow.version` of task no_hash must be the beginning of a hash: sha256: and at least 8 of its digits
    }
  }
}
