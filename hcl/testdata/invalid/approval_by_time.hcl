workflow "w" {
  task "a" {
    approval {
      timeout    = "1h"
      on_timeout = "approve"
      input "limit" { # ERROR: Nobody gives input limit when time approves, so it needs a default beside on_timeout = "approve".
        type = number
      }
      input "note" {
        default = ""
      }
    }
  }
  task "b" {
    approval {
      timeout = "1h"
      input "limit" {}
    }
  }
}
