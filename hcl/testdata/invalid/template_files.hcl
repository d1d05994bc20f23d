workflow "w" {
  locals {
    missing  = templatefile("files/good.tpl", { day = "x" }) # ERROR: Invalid value for "vars" parameter of templatefile: files/good.tpl:1 uses regions, which is not among the
    typo     = templatefile("files/good.tpl", { dya = "x", regions = [] }) # ERROR: Invalid value for "vars" parameter of templatefile: files/good.tpl:1 uses day, which is not among the names
    type     = templatefile("files/good.tpl", { day = "x", regions = 5 }) # ERROR: Call to function "templatefile" failed: files/good.tpl:1: A value of type number cannot be used as the
    no_map   = templatefile("files/good.tpl", ["x"]) # ERROR: Invalid value for "vars" parameter of templatefile: the names of a template are a map such as { day =
    bad_name = templatefile("files/good.tpl", { day = "x", regions = [], "a b" = 1 }) # ERROR: Invalid value for "vars" parameter of templatefile: "a b" is no name: a name in a template begins with a
    syntax   = templatefile("files/syntax.tpl", { day = "x" }) # ERROR: Call to function "templatefile" failed: files/syntax.tpl:1: There is no closing brace for this interpolation
    nested   = templatefile("files/nested.tpl", {}) # ERROR: a template cannot render another one. Render both in the workflow
    reads    = templatefile("files/reads.tpl", { name = "good.tpl" }) # ERROR: Invalid value for "path" parameter of templatefile: files/reads.tpl:1: file: it is read when the workflow is
    no_file  = templatefile("files/god.tpl", {}) # ERROR: Invalid value for "path" parameter of templatefile: there is no file files/god.tpl in the workflow's folder
    one      = templatefile("files/good.tpl") # ERROR: Function "templatefile" expects 2 argument(s)
  }
  task "a" {}
}
