# Jobs with every verdict that a dry run can have on one idle client.
workflow "placement" {
  defaults {
    driver = "raw_exec"
  }
  task "fine" {
    for_each = toset(["a", "b"])
    config {
      command = "/bin/true"
    }
  }
  task "never" {
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "plan9"
    }
    config {
      command = "/bin/true"
    }
  }
  task "huge" {
    resources {
      memory = 99999999
    }
    config {
      command = "/bin/true"
    }
  }
  task "nowhere" {
    namespace = "nowhere"
    config {
      command = "/bin/true"
    }
  }
}
