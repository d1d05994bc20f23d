job "group-secret-twice" {
  group "one" {
    secret "of_group" {
      provider = "nomad"
      path     = "nomad/jobs/b"
    }
    task "has_a_secret" {
      driver = "raw_exec"
      secret "of_task" {
        provider = "nomad"
        path     = "nomad/jobs/c"
      }
    }
  }
}
