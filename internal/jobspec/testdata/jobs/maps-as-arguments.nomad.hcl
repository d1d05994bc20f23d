job "maps-as-arguments" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      env = {
        "WITH.DOT" = "1"
        PLAIN      = "two"
      }
      meta = {
        "a/b" = 1
      }
    }
  }
}
