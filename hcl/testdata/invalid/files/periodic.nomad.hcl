job "periodic" {
  type = "batch"
  periodic {
    crons = ["@daily"]
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
      }
    }
  }
}
