workflow "w" {
  task "own" {
    driver = "raw_exec"
    dynamic "output" { # ERROR: output is Cairn's own and cannot be made by a dynamic block
      for_each = ["a"]
      labels   = [output.value]
      content {}
    }
    config {
      command = "x"
    }
  }
  task "bodies" {
    dynamic "http" { # ERROR: http is Cairn's own and cannot be made by a dynamic block
      for_each = ["a"]
      content {}
    }
  }
  task "nomads" {
    driver = "raw_exec"
    dynamic "template" {
      for_each = ["a"]
      content {
        dta = template.value # ERROR: Nomad knows no argument "dta" here
      }
    }
    dynamic "constraint" { # ERROR: A dynamic block needs for_each and a content block # ERROR: A dynamic block needs the argument for_each
      content {}
    }
    config {
      command = "x"
    }
  }
}
