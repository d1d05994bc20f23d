workflow "main" {
  param "token" {
    type      = string
    default   = "hunter2"
    sensitive = true
  }
  param "n" {
    type      = number
    default   = "hunter3" # ERROR: `default` of param n must be a number, which it is not; because it is sensitive, it is not shown here.
    sensitive = true
  }
  locals {
    pair = { token = sensitive("hunter4") }
  }
  task "a" {
    run_workflow {
      name = "child"
      params = {
        n    = sensitive("hunter5") # ERROR: param n of workflow child must be a number, which it is not; because it is sensitive, it is not shown here.
        list = local.pair.token # ERROR: param list of workflow child must be list(string), which it is not; because it is sensitive, it is not shown here.
      }
    }
  }
  task "b" {
    approval {
      input "pin" {
        type      = number
        default   = "hunter6" # ERROR: `default` of input pin must be a number, which it is not; because it is sensitive, it is not shown here.
        sensitive = true
      }
    }
  }
  task "c" {
    http {
      url     = sensitive("hunter7") # ERROR: `http.url` of task c must begin with http:// or https://
      headers = { X = sensitive("hunter8\n") } # ERROR: `http.headers` of task c has a line break or another control character in the header X
      method  = sensitive("hunter9") # ERROR: `http.method` of task c must be one of GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS
    }
  }
  task "d" { # WARNING: The body of task d reads sensitive values
    dispatch { # WARNING: The jobs of these tasks run unchanged: d
      job     = "x"
      payload = jsondecode(sensitive("hunter10")) # ERROR: The expression reads sensitive values, so what exactly is wrong with it is not shown
    }
  }
  output "x" {
    value = templatefile("files/good.tpl", { day = sensitive("hunter11"), regions = sensitive("hunter12") }) # ERROR: The expression reads sensitive values, so what exactly is wrong with it is not shown
  }
}

workflow "child" {
  param "n" {
    type = number
  }
  param "list" {
    type = list(string)
  }
  task "a" {}
}
