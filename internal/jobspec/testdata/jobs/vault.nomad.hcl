job "vault" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      vault {
        policies               = ["a", "b"]
        role                   = "reader"
        namespace              = "team"
        cluster                = "default"
        env                    = false
        disable_file           = true
        change_mode            = "signal"
        change_signal          = "SIGUSR1"
        allow_token_expiration = true
      }
    }
  }
}
