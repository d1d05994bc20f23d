variable "name" {
  default = "x"
}

job "broken" {
  type = "batch"
  group "g" {
    task "t" {
      drivr = "raw_exec" # ERROR: Nomad knows no argument "drivr" here
      config {
        command = file(var.name) # ERROR: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on var.name
      }
    }
  }
}
