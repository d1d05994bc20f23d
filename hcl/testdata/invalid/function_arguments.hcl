workflow "w" {
  param "list" {
    type = list(string)
  }
  param "n" {
    type = number
  }
  locals {
    a = upper(param.list) # ERROR: Invalid value for "str" parameter of upper: string required, but have list of string
    b = join(param.list, ",") # ERROR: Invalid value for "separator" parameter of join: string required, but have list of string # ERROR: Invalid value for "lists" parameter of join: list of string required, but have string
    c = length(5) # ERROR: Invalid value for "value" parameter of length: text, a list, a set, a map or an object is needed
    d = max("a", 3) # ERROR: Invalid value for "numbers" parameter of max: a number is required
    e = lookup({ a = 1 }, "b") # ERROR: Function "lookup" expects 3 argument(s)
    f = keys(param.list) # ERROR: Invalid value for "inputMap" parameter of keys: must have map or object type
    g = timeadd(run.scheduled_at, "1d") # ERROR: Invalid value for "duration" parameter of timeadd: a duration such as "-24h" is needed; for months there is
    h = timetrunc(run.scheduled_at, "dya") # ERROR: Invalid value for "unit" parameter of timetrunc: the unit is one of second, minute, hour, day, week, month,
    i = timein(run.scheduled_at, "Berlin") # ERROR: Invalid value for "zone" parameter of timein: a time zone such as "UTC" or "Europe/Berlin" is needed
    j = formatdate("YYYY", "today") # ERROR: Invalid value for "time" parameter of formatdate: not a valid RFC3339 timestamp: cannot use "today" as year
    k = regex("(", "x") # ERROR: Invalid value for "pattern" parameter of regex: invalid regexp pattern: missing closing ) in (
    l = jsondecode("{") # ERROR: Call to function "jsondecode" failed: the text is no JSON: unexpected end of JSON input.
    m = element([], 0) # ERROR: Call to function "element" failed: cannot use element function with an empty list
    n = format("%d", "x") # ERROR: Call to function "format" failed: unsupported value for "%d" at 0: a number is required
    o = toset(param.n) # ERROR: Invalid value for "v" parameter of toset: cannot convert number to set of any single type
    p = split(",") # ERROR: Function "split" expects 2 argument(s)
    q = upper("a", "b") # ERROR: Function "upper" expects only 1 argument(s)
    r = uppercase("a") # ERROR: There is no function named "uppercase"
    s = cidrhost("10.0.0.0", 1) # ERROR: Call to function "cidrhost" failed: invalid CIDR expression: invalid CIDR address: 10.0.0.0
    t = substr("abc", 0) # ERROR: Function "substr" expects 3 argument(s)
    u = sum("5") # ERROR: Invalid value for "list" parameter of sum: a list or set of numbers is needed
    v = weekday("Monday") # ERROR: Invalid value for "time" parameter of weekday: a time such as 2026-01-31T02:00:00Z is needed
  }
  task "a" {}
}
