locals {
  a = local.b
  b = local.a
}
job "bad-locals-cycle" {
  name = local.a
  group "main" {
    task "work" {
      driver = "raw_exec"
    }
  }
}
