variable "image" {
  type        = string
  default     = "web:1"
  description = "What to run"
  validation {
    condition     = strlen(regex_replace(var.image, "[^:]", "")) == 1
    error_message = "The image must have a tag."
  }
}
variable "ports" {
  type    = map(number)
  default = { http = 80 }
}
variable "flags" {
  type = list(string)
}
variable "needed" {}
variable "count" {
  type = number
}
variables {
  old_style = "yes"
}
locals {
  full  = "${local.short}-${var.image}"
  short = upper("x${var.count}")
  node  = "${node.unique.name}"
}
job "variables" {
  name = var.needed
  group "main" {
    count = var.count
    network {
      dynamic "port" {
        for_each = var.ports
        labels   = [port.key]
        content {
          static = port.value
        }
      }
    }
    task "work" {
      driver = "docker"
      config {
        image = var.image
        args  = concat(var.flags, [local.full, local.node, var.old_style])
      }
      env = { for i, f in var.flags : "FLAG_${i}" => f }
    }
  }
}
