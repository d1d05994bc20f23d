workflow "w" {
  task "a" {
    driver = = "x" # ERROR: Expected the start of an expression, but found an invalid expression token.
  }
  task "b" {
    when = (1 + 2
  } # ERROR: Expected a closing parenthesis to terminate the expression.
}
