workflow "Nightly" { # ERROR: "Nightly" is no name for a workflow. A name begins with a small letter
  param "2day" {} # ERROR: "2day" is no name for a param.
  task "a b" {} # ERROR: "a b" is no name for a task.
  task {} # ERROR: Write task "name" { … }: its name is a label.
  task "a" "b" {} # ERROR: Write task "a" { … }: it takes one label.
  finally "" {} # ERROR: "" is no name for a finally.
  locals "x" { # ERROR: locals takes no label: write locals { … }.
    Big = 1 # ERROR: "Big" is no name for a local.
  }
}
