job "templates" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      template {
        data                 = <<-EOT
          {{ range services }}{{ .Name }}
          {{ end }}
          $${NOT_OURS} ${NOMAD_TASK_NAME} %%{ if }
        EOT
        destination          = "local/out"
        change_mode          = "signal"
        change_signal        = "SIGHUP"
        once                 = true
        splay                = "1m"
        perms                = "600"
        uid                  = 1000
        gid                  = 1000
        left_delimiter       = "<<"
        right_delimiter      = ">>"
        env                  = true
        vault_grace          = "5m"
        error_on_missing_key = true
        wait {
          min = "5s"
          max = "10s"
        }
      }
      template {
        source      = "local/in.tpl"
        destination = "local/in"
        change_mode = "script"
        change_script {
          command             = "/bin/reload"
          args                = ["-v"]
          timeout             = "20s"
          fail_on_error       = true
          run_on_first_render = true
        }
      }
      template {
        data        = "plain"
        destination = "local/plain"
      }
      template {
        data        = "plain"
        destination = "local/script"
        change_mode = "script"
        change_script {
          command = "/bin/true"
        }
      }
    }
  }
}
