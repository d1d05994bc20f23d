workflow "two" {
  task "a" {}
}
