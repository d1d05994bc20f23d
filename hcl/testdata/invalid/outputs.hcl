workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type    = number
      default = "none" # ERROR: `default` of output rows must be a number: a number is required.
    }
    output "line" {
      from    = "stderr" # ERROR: `from` must be "file" or "stdout".
      pattern = "x" # ERROR: pattern looks through standard output: write from = "stdout" beside it.
    }
    output "broken" {
      from    = "stdout"
      pattern = "rows=(" # ERROR: The pattern of output broken is no regular expression
    }
    output "late" {
      default = run.id # ERROR: `default` of output late cannot refer to run.id. It is needed before any run exists.
    }
  }
  task "join" {
    output "x" {} # ERROR: task join has no body, so nothing can write its outputs.
  }
}
