workflow "w" {
  param "token" {
    type      = string
    sensitive = true
  }
  param "keys" {
    type      = map(string)
    sensitive = true
  }
  task "a" { # WARNING: The body of task a reads sensitive values.
    for_each = param.keys # ERROR: `for_each` of task a is sensitive, and the keys of instances are shown everywhere.
    driver   = "raw_exec"
    config {
      command = "x"
      args    = [jsondecode(param.token)]
    }
  }
  output "shown" {
    value = "Bearer ${param.token}" # ERROR: output shown carries a sensitive value. Write sensitive = true beside it
  }
  output "hidden" {
    value     = upper(param.token)
    sensitive = true
  }
}
