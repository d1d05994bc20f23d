workflow "w" {
  locals {
    a = timestamp() # ERROR: Call to function "timestamp" failed: it would give another value each time
    b = uuid() # ERROR: Call to function "uuid" failed: it would give another value each time
    c = bcrypt("x") # ERROR: Call to function "bcrypt" failed: it would give another value each time
    d = fileset("files", "*.txt") # ERROR: Call to function "fileset" failed: which files there are may change unseen
    e = abspath("x") # ERROR: Call to function "abspath" failed: paths of this machine mean nothing on the worker
    f = templatestring("$${x}", { x = 1 }) # ERROR: Call to function "templatestring" failed: data would become a template
    g = base64gzip("x") # ERROR: Call to function "base64gzip" failed: compressed bytes differ between versions of the compressor
    h = list("a", "b") # ERROR: Call to function "list" failed: it is gone from Terraform too
    i = textencodebase64("x", "UTF-16LE") # ERROR: Call to function "textencodebase64" failed: all text here is UTF-8
    j = plantimestamp() # ERROR: Call to function "plantimestamp" failed: it would give another value each time
    k = type(1) # ERROR: Call to function "type" failed: it is for Terraform's console only
  }
  task "a" {}
}
