job "group-disconnect" {
  group "main" {
    disconnect {
      lost_after           = "6h"
      replace              = false
      reconcile            = "keep_original"
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
