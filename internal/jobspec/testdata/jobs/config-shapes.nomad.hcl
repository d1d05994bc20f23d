job "config-shapes" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        text       = "a"
        number     = 3
        fraction   = 2.5
        big        = 9007199254740993
        flag       = true
        gone       = null
        list       = ["a", 1, true, null, { b = null }]
        empty_list = []
        object     = { a = 1 }
        empty      = {}
        choice     = true ? { a = 1 } : { a = 2 }
        paren      = ({ a = 1 })
        deep       = { a = { b = [{ c = 1 }] } }
        auth {
          username = "u"
          nothing  = null
          labels   = { x = "y" }
        }
        mount {
          type = "bind"
          options {
            ro = true
          }
        }
        mount {
          type = "tmpfs"
        }
        logging "json" "file" {
          path = "/x"
        }
        logging "plain" {}
      }
    }
  }
}
