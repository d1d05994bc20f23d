workflow "w" {
  task "a" {
    job { # WARNING: The jobs of these tasks run unchanged: a
      source = "files/broken.nomad.hcl"
    }
  }
}
