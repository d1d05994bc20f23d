job "roots-of-nobody" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      config {
        args = ["${workflow.id}", "${some.unknown["key"].path}", "${FOO}"]
      }
    }
  }
}
