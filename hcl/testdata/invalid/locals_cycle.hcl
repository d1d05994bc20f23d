workflow "w" {
  locals {
    a = local.b # ERROR: local.a -> local.b -> local.a: each needs the next before it can be computed.
    b = "x${local.a}"
  }
  param "p" {
    default = param.q # ERROR: param.p -> param.q -> param.p: the default of each needs the next.
  }
  param "q" {
    default = param.p
  }
  task "t" {
    when = local.a == "x"
  }
}
