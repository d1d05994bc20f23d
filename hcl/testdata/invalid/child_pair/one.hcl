workflow "one" {
  param "day" {
    type = string
  }
  task "a" {}
}
