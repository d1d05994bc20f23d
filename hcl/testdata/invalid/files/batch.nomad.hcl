variable "day" {
  type = string
}

variable "rows" {
  type    = number
  default = 1
}

job "batch" {
  type = "batch"
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args    = [var.day, var.rows]
      }
    }
  }
}
