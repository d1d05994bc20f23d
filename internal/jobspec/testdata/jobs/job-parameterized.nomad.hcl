job "job-parameterized" {
  type = "batch"
  parameterized {
    payload       = "required"
    meta_required = ["who"]
    meta_optional = ["why", "when"]
  }
  group "main" {
    task "work" {
      driver = "raw_exec"
      dispatch_payload {
        file = "input.json"
      }
      config {
        command = "cat"
        args    = ["${NOMAD_META_who}", "local/input.json"]
      }
    }
  }
}
