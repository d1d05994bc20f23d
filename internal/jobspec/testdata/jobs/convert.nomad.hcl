variable "n" {
  type    = string
  default = "2"
}

locals {
  parts = convert(["a", "b"], set(string))
}

job "convert" {
  type = "batch"

  group "work" {
    count = convert(var.n, number)

    task "work" {
      driver = "exec"
      config {
        command = index(["x", "y"], 1)
        args    = convert(local.parts, list(string))
        deep    = convert({ a = "5" }, object({ a = number }))
      }
      env {
        FLAG = convert("true", bool)
        ANY  = convert("text", any)
      }
    }
  }
}
