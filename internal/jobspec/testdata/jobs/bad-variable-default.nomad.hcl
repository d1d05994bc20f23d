variable "n" {
  type    = number
  default = "many"
}
job "bad-variable-default" {
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
