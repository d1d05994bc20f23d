# One task per region, the regions given as a param, and a total over whatever they counted.

workflow "fan_out" {
  description = "Count orders in every region, then add them up"

  param "regions" {
    type        = map(number)
    description = "Region to the number of orders it pretends to have"
    default = {
      apac = 12
      eu   = 42
      us   = 27
    }
  }

  task "count" {
    for_each = param.regions # each.key is the identity of an instance, each.value what belongs to it
    driver   = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo counting $1; sleep 0.$2; echo orders=$2 >> \"$CAIRN_OUTPUT\"", "sh", each.key, tostring(each.value)]
    }
    output "orders" {
      type = number
    }
  }

  # Values over a whole fan-out are best worked out once, here. A local carries its edges along: who reads it waits.
  locals {
    orders = { for region, t in task.count : region => t.output.orders }
    total  = sum(values(local.orders))
  }

  # A fan-out over what another one found: only the busy regions, known when count has ended.
  task "inspect" {
    for_each     = { for region, orders in local.orders : region => orders if orders > 20 }
    max_parallel = 1 # one at a time
    driver       = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo looking closer at $1, $2 of $3 orders", "sh", each.key, tostring(each.value), tostring(local.total)]
    }
  }

  # `count` makes numbered instances: 0, 1, 2.
  task "verify" {
    count  = 3
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo check $1 of ${local.total} orders", "sh", each.key]
    }
  }

  task "total" {
    depends_on = [task.inspect, task.verify]
    driver     = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [jsonencode(local.orders), "make", tostring(local.total)]
    }
  }

  output "orders" {
    value = local.orders
  }

  output "total" {
    value = local.total
  }
}
