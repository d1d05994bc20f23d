workflow "child" {
  param "rows" {
    type = number
  }
  param "name" {
    type = string
  }
  param "token" {
    type = string
  }
  param "greeting" {
    type    = string
    default = "Hello ${param.token}"
  }

  task "again" {
    when = param.rows > 1
    run_workflow {
      name   = "child"
      params = { rows = param.rows - 1, name = param.name, token = param.token }
    }
  }

  task "work" {
    driver = "raw_exec"
    config {
      command = "x"
      args    = [file("text.txt"), param.greeting]
    }
  }

  output "rows" {
    value = param.rows
  }
}

workflow "other" {
  task "up" {
    run_workflow {
      source = ".."
      params = { day = "x" }
    }
  }
}
