job "constraints-nomad-ignores" {
  group "main" {
    constraint {
      attribute        = "${meta.x}"
      set_contains_all = "a,b"
    }
    constraint {
      attribute        = "${meta.x}"
      set_contains_any = "a,b"
    }
    constraint {
      is_set = "${meta.x}"
    }
    constraint {
      is_not_set = "${meta.x}"
    }
    task "work" {
      driver = "raw_exec"
    }
  }
}
