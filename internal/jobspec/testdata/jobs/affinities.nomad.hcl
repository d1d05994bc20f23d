job "affinities" {
  group "main" {
    affinity {
      attribute = "${attr.nomad.version}"
      version   = ">= 1.8"
      weight    = 100
    }
    affinity {
      attribute = "${attr.nomad.version}"
      semver    = ">= 1.8.0"
    }
    affinity {
      attribute = "${attr.kernel.name}"
      regexp    = "[a-z]+"
    }
    affinity {
      attribute    = "${meta.features}"
      set_contains = "a,b"
    }
    affinity {
      attribute        = "${meta.features}"
      set_contains_all = "a,b"
    }
    affinity {
      attribute        = "${meta.features}"
      set_contains_any = "a,b"
    }
    affinity {
      attribute        = "${meta.features}"
      set_contains_any = "a"
      set_contains     = "b"
      regexp           = "c"
    }
    task "work" {
      driver = "raw_exec"
      affinity {
        attribute = "${node.class}"
        value     = "fast"
      }
    }
  }
}
