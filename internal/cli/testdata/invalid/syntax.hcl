workflow "syntax" {
  task "a" {
    driver = 
  }
