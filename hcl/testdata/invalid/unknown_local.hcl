workflow "w" {
  locals {
    landing = "s3://landing"
    twice   = "${local.landin}/x" # ERROR: There is no local landin. Did you mean `landing`?
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = local.landign # ERROR: There is no local landign. Did you mean `landing`?
    }
  }
}
