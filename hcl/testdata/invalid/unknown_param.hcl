workflow "w" {
  param "day" {
    type = string
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = param.dya # ERROR: There is no param dya. Did you mean `day`?
      args    = ["${param.hour}"] # ERROR: There is no param hour.
    }
  }
}
