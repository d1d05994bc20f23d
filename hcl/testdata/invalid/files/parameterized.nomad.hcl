job "parameterized" {
  type = "batch"
  parameterized {} # ERROR: A parameterized job does nothing until it is dispatched
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "x"
      }
    }
  }
}
