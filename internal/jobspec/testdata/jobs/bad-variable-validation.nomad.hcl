variable "n" {
  type    = number
  default = 3
  validation {
    condition     = var.n > 5
    error_message = "The number must be above 5."
  }
}
job "bad-variable-validation" {
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
