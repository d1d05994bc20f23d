workflow "one" {
  task "a" {
  }
}

workflow "two" {
  task "b" {
  }
}
