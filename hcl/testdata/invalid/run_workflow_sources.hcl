workflow "w" {
  task "missing" {
    run_workflow {
      source = "child_pear" # ERROR: There is no workflow at child_pear in the workflow's folder: neither a file, nor a folder with .hcl files
    }
  }
  task "several" {
    run_workflow {
      source = "child_pair" # ERROR: The files at child_pair declare several workflows: one or two
    }
  }
  task "not_in_it" {
    run_workflow {
      source = "child_pair"
      name   = "tow" # ERROR: The files at child_pair declare no workflow tow, only one or two
    }
  }
  task "outside" {
    run_workflow {
      source = "../valid" # ERROR: `run_workflow.source` of task outside names a file: the path leads out of the workflow's folder
    }
  }
  task "no_workflow" {
    run_workflow {
      source = "files/nothing.hcl" # ERROR: The files at files/nothing.hcl declare no workflow that task no_workflow could run
    }
  }
  task "computed" {
    run_workflow {
      source = local.x # ERROR: `run_workflow.source` of task computed names a file: it is read when the workflow is submitted, once, so its
    }
  }
  locals {
    x = "child_pair"
  }
}
