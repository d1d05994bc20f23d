workflow "child" {
  param "n" {
    type    = number
    default = "many" # ERROR: `default` of param n must be a number: a number is required
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = task.b.output.x # ERROR: There is no task b in workflow child
      args    = [file("none.txt"), param.m] # ERROR: Invalid value for "path" parameter of file: there is no file child_broken/none.txt in the workflow's folder # ERROR: There is no param m
    }
    timout = "1h" # ERROR: Nomad knows no argument "timout" here
  }
}
