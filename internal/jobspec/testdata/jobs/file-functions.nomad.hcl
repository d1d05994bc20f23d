job "file-functions" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      template {
        data        = file("files/greeting.txt")
        destination = "local/x"
      }
      config {
        command = fileexists("files/none") ? "a" : "b"
        encoded = filebase64("files/greeting.txt")
      }
    }
  }
}
