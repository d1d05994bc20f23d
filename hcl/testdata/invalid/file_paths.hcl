locals {
  name = "files/text.txt"
}

workflow "w" {
  param "name" {
    type = string
  }
  locals {
    missing  = file("files/texd.txt") # ERROR: Invalid value for "path" parameter of file: there is no file files/texd.txt in the workflow's folder
    absolute = file("/etc/hostname") # ERROR: file reads a file: the path is absolute
    home     = file("~/x") # ERROR: file reads a file: the path is absolute
    outside  = file("../valid/graph.hcl") # ERROR: file reads a file: the path leads out of the workflow's folder
    bytes    = file("files/bytes.bin") # ERROR: Invalid value for "path" parameter of file: files/bytes.bin is not text in UTF-8; filebase64 reads any file
    number   = filesha256(["x"]) # ERROR: filesha256 reads a file: a path is text, not a list
    empty    = file("") # ERROR: file reads a file: the path is empty: write the name of a file
    from     = file(local.name) # ERROR: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on local.name
    module   = file("${path.module}/files/text.txt") # ERROR: file reads a file: paths are taken from the folder of the file they stand in: leave path.module out
    folder   = fileset("files", "*") # ERROR: Call to function "fileset" failed: which files there are may change unseen
    loop     = [for n in ["a", "b"] : file("files/${n}.txt")] # ERROR: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on n
    none     = file() # ERROR: Function "file" expects 1 argument(s)
  }
  task "a" {
    for_each = toset(["a", "b"])
    driver   = "raw_exec"
    config {
      command = file("${each.key}.txt") # ERROR: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on each.key
      args    = [file(param.name), templatefile("files/${param.name}", {})] # ERROR: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on param.name # ERROR: templatefile reads a file: it is read when the workflow is submitted, once, so its path cannot depend on
    }
  }
}
