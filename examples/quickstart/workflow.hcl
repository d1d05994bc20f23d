# Four tasks: one greets, two work on its greeting side by side, the last one puts everything together.

workflow "quickstart" {
  description = "The smallest workflow that shows what Cairn does"

  param "name" {
    type        = string
    default     = "world"
    description = "Whom to greet"
  }

  task "greet" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo \"greeting=Hello, $1.\" >> \"$CAIRN_OUTPUT\"", "sh", param.name]
    }

    # A task gives values to others by appending key=value lines to the file $CAIRN_OUTPUT.
    output "greeting" {}
  }

  # Both read task.greet, so both wait for it, and neither waits for the other.
  task "count" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "sleep 1; printf %s \"$1\" | wc -w", "sh", task.greet.output.greeting]
    }

    # The last line of standard output will do as well.
    output "words" {
      type = number
      from = "stdout"
    }
  }

  task "shout" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "sleep 1; printf %s \"$1\" | tr a-z A-Z", "sh", task.greet.output.greeting]
    }
    output "text" {
      from = "stdout"
    }
  }

  task "say" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = ["${task.shout.output.text} (${task.count.output.words} words)"]
    }
    output "line" {
      from = "stdout"
    }
  }

  # What the run itself gives back: `cairn run -json` prints it.
  output "line" {
    value = task.say.output.line
  }
}
