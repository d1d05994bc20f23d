job "dynamic-labelled-blocks" {
  group "main" {
    network {
      dynamic "port" {
        for_each = { http = 80, rpc = 0 }
        labels   = [port.key]
        content {
          static = port.value
        }
      }
    }
    dynamic "volume" {
      for_each = ["a", "b"]
      iterator = it
      labels   = ["vol-${it.value}"]
      content {
        type   = "host"
        source = it.value
      }
    }
    dynamic "task" {
      for_each = ["x", "y"]
      labels   = [task.value]
      content {
        driver = "raw_exec"
        dynamic "template" {
          for_each = [task.value]
          content {
            data        = "${task.key}-${template.value}"
            destination = "local/f"
          }
        }
      }
    }
  }
}
