# Its finally task goes on for a minute, or until the run is terminated.
workflow "long_finally" {
  task "quick" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }

  finally "tidy" {
    driver = "raw_exec"
    config {
      command = "/bin/sleep"
      args    = ["60"]
    }
  }
}
