job "identities" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      identity {
        name          = "vault_default"
        aud           = ["vault.io"]
        change_mode   = "restart"
        change_signal = "SIGHUP"
        env           = true
        file          = true
        filepath      = "local/token"
        ttl           = "1h"
        extra_claims  = ["a"]
      }
      identity {
        env  = true
        file = false
      }
      identity {
        name         = "consul_default"
        service_name = "web"
      }
    }
  }
}
