job "constraints" {
  group "main" {
    constraint {
      attribute = "${attr.nomad.version}"
      version   = ">= 1.8"
    }
    constraint {
      attribute = "${attr.nomad.version}"
      semver    = ">= 1.8.0-beta1"
    }
    constraint {
      attribute = "${attr.kernel.name}"
      regexp    = "[a-z]+"
    }
    constraint {
      attribute    = "${meta.features}"
      set_contains = "a,b"
    }
    constraint {
      distinct_hosts = true
    }
    constraint {
      distinct_hosts = false
    }
    constraint {
      distinct_property = "${meta.rack}"
      value             = "2"
    }
    constraint {
      attribute = "${meta.rack}"
      operator  = "is_set"
    }
    constraint {
      attribute = "${meta.rack}"
      operator  = "set_contains_any"
      value     = "a,b"
    }
    constraint {
      attribute = "${meta.rack}"
      regexp    = "x"
      version   = "> 1"
    }
    constraint {
      attribute         = "${meta.rack}"
      distinct_property = "${meta.zone}"
      set_contains      = "a"
    }
    constraint {
      attribute = "${meta.rack}"
      version   = ""
      value     = "7"
    }
    task "work" {
      driver = "raw_exec"
      constraint {
        attribute = "${attr.cpu.arch}"
        value     = "amd64"
      }
    }
  }
}
