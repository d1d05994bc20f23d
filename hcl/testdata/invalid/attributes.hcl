workflow "w" {
  param "table" {
    type = object({ name = string, columns = list(object({ title = string, width = optional(number) })) })
  }
  param "names" {
    type = list(string)
  }
  param "sizes" {
    type = map(number)
  }
  locals {
    a = param.table.nmae # ERROR: This object does not have an attribute named "nmae"
    b = param.table.columns[0].titel # ERROR: This object does not have an attribute named "titel"
    c = param.table.columns.title # ERROR: It is a list of object: write [0].title for that of the first element, or [*].title for those of all.
    d = param.names.first # ERROR: This value does not have any attributes
    e = param.names["first"] # ERROR: The given key does not identify an element in this collection value: a number is required
    f = param.table["nmae"] # ERROR: The given key does not identify an element in this collection value
    g = [for c in param.table.columns : c.titel] # ERROR: This object does not have an attribute named "titel"
    h = { for name, size in param.sizes : name => size.bytes } # ERROR: It is a number, which has no bytes: leave .bytes out.
    i = { rows = 1, columns = 2 }.rosw # ERROR: This object does not have an attribute named "rosw"
    j = local.i.x
    k = param.sizes["a"].b # ERROR: It is a number, which has no b: leave .b out.
  }
  task "a" {}
}
