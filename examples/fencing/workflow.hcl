# Every attempt has a number that grows, CAIRN_FENCE. A store that refuses lower ones is safe from attempts that live on somewhere.

workflow "fencing" {
  description = "A store that refuses the late writes of a lost attempt"

  param "folder" {
    type    = string
    default = "/tmp/cairn-fencing"
  }

  task "writer" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", file("writer.sh"), "writer.sh", file("store.sh"), param.folder]
    }
    retry {
      max_attempts = 2
      delay        = "100ms"
    }
    output "late_write" {}
  }

  output "late_write" {
    value = task.writer.output.late_write
  }
}
