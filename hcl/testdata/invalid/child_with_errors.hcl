workflow "w" {
  task "a" {
    run_workflow {
      source = "child_broken"
      params = { n = "x" } # ERROR: param n of workflow child must be a number: a number is required
    }
  }
}
