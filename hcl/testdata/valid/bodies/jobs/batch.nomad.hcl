variable "day" {
  type = string
}

variable "rows" {
  type    = number
  default = 0
}

job "batch" {
  type = "batch"
  group "g" {
    restart {
      attempts = 1
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
        args    = [var.day, var.rows, file("note.txt"), "${NOMAD_TASK_DIR}"]
      }
    }
  }
}
