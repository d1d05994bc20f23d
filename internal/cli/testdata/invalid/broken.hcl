workflow "broken" {
  task "extract" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  task "load" {
    depends_on = [task.extrakt]
	driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [parm.day]
    }
  }
}
