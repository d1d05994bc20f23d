# Orders come in as one file per region, some lines are broken, and the warehouse wants clean ones and a revenue.
# The files are made here, the same ones for the same day; only sh and awk are needed.

workflow "etl" {
  description = "Extract, clean, check and load one day of orders"
  labels = {
    team = "data"
  }

  param "day" {
    type        = string
    default     = "2026-01-31"
    description = "Business day to load"
    validation {
      condition     = can(regex("^\\d{4}-\\d{2}-\\d{2}$", param.day))
      error_message = "day must look like 2026-01-31."
    }
  }

  param "regions" {
    type    = list(string)
    default = ["apac", "eu", "us"]
  }

  param "rows" {
    type        = number
    default     = 200
    description = "Orders per region"
  }

  param "max_bad" {
    type        = number
    default     = 10
    description = "Broken lines that are still acceptable, in percent"
  }

  # Files are too large for outputs, which hold numbers and names. They live in a folder that every worker can reach: on one
  # machine any will do, on a cluster put a shared one here.
  param "workspace" {
    type    = string
    default = "/tmp/cairn-etl-${run.id}"
  }

  param "keep" {
    type        = bool
    default     = false
    description = "Keep the workspace"
  }

  defaults {
    timeout = "5m"
    driver  = "raw_exec"
    env {
      WORKSPACE = param.workspace
      DAY       = param.day
    }
    retry {
      max_attempts = 2
      delay        = "1s"
    }
  }

  # One file per region: id,customer,cents. About one line in twenty is broken.
  task "extract" {
    for_each = toset(param.regions)
    config {
      command = "/bin/sh"
      args = ["-c", <<-SH
        set -eu
        mkdir -p "$WORKSPACE/raw"
        awk -v region="$1" -v rows="$2" -v day="$DAY" '
          BEGIN {
            seed = length(region) * 7919
            for (i = 1; i <= length(day); i++) seed = (seed * 31 + substr(day, i, 1) + 17) % 65521
            for (i = 1; i <= length(region); i++) seed = (seed * 31 + index("abcdefghijklmnopqrstuvwxyz", substr(region, i, 1))) % 65521
            for (n = 1; n <= rows; n++) {
              seed = (seed * 75 + 74) % 65537
              customer = "c" (seed % 9 + 1)
              cents = seed % 9000 + 100
              if (n % 20 == 7) customer = ""
              if (n % 50 == 31) cents = "-" cents
              print region "-" n "," customer "," cents
            }
          }' > "$WORKSPACE/raw/$1.csv.part"
        mv "$WORKSPACE/raw/$1.csv.part" "$WORKSPACE/raw/$1.csv"
        echo "file=$WORKSPACE/raw/$1.csv" >> "$CAIRN_OUTPUT"
        echo "rows=$(wc -l < "$WORKSPACE/raw/$1.csv")" >> "$CAIRN_OUTPUT"
        SH
        , "sh", each.key, tostring(param.rows)
      ]
    }
    output "file" {}
    output "rows" {
      type = number
    }
  }

  # A line without a customer or with a sum that is no positive number is set aside, not thrown away.
  task "clean" {
    for_each = { for region, t in task.extract : region => t.output.file }
    config {
      command = "/bin/sh"
      args = ["-c", <<-SH
        set -eu
        mkdir -p "$WORKSPACE/clean" "$WORKSPACE/rejected"
        awk -F, -v good="$WORKSPACE/clean/$1.csv" -v bad="$WORKSPACE/rejected/$1.csv" -v out="$CAIRN_OUTPUT" '
          BEGIN { printf "" > good; printf "" > bad }
          NF == 3 && $2 != "" && $3 ~ /^[0-9]+$/ { print > good; kept++; next }
          { print > bad; dropped++ }
          END {
            print "kept=" kept + 0 >> out
            print "dropped=" dropped + 0 >> out
          }' "$2"
        SH
        , "sh", each.key, each.value
      ]
    }
    output "kept" {
      type = number
    }
    output "dropped" {
      type = number
    }
  }

  locals {
    kept        = sum([for t in values(task.clean) : t.output.kept])
    dropped     = sum([for t in values(task.clean) : t.output.dropped])
    bad_percent = 100 * local.dropped / max(1, local.kept + local.dropped)
  }

  # Better no data than wrong data.
  task "check" {
    config {
      command = "/bin/sh"
      args = [
        "-c", "echo \"$1 kept, $2 rejected\"; test $3 = true || { echo too many broken lines >&2; exit 2; }", "sh",
        tostring(local.kept), tostring(local.dropped), tostring(local.bad_percent <= param.max_bad),
      ]
    }
    retry {
      max_attempts = 1 # counting again gives the same numbers
    }
  }

  # Written aside and moved into place at the end: a load that is tried again leaves no half.
  task "load" {
    depends_on = [task.check]
    config {
      command = "/bin/sh"
      args = ["-c", <<-SH
        set -eu
        mkdir -p "$WORKSPACE/warehouse"
        cat "$WORKSPACE"/clean/*.csv | sort -t, -k2,2 -k1,1 > "$WORKSPACE/warehouse/$DAY.csv.$CAIRN_ATTEMPT"
        mv "$WORKSPACE/warehouse/$DAY.csv.$CAIRN_ATTEMPT" "$WORKSPACE/warehouse/$DAY.csv"
        awk -F, '{ cents += $3 } END { printf "orders=%d\ncents=%d\n", NR, cents }' "$WORKSPACE/warehouse/$DAY.csv" >> "$CAIRN_OUTPUT"
        SH
      ]
    }
    output "orders" {
      type = number
    }
    output "cents" {
      type = number
    }
  }

  task "report" {
    config {
      command = "/bin/sh"
      args = ["-c", <<-SH
        set -eu
        echo "$DAY: $1 orders, $2 in all"
        awk -F, '{ sum[$2] += $3 } END { for (c in sum) printf "%s %.2f\n", c, sum[c] / 100 }' "$WORKSPACE/warehouse/$DAY.csv" | sort -k2,2nr -k1,1
        SH
        , "sh", tostring(task.load.output.orders), format("%.2f", task.load.output.cents / 100)
      ]
    }
    output "best_customer" {
      from    = "stdout"
      pattern = "all\n(c\\d+) "
    }
  }

  finally "tidy" {
    timeout = "1m"
    when    = !param.keep
    config {
      command = "/bin/sh"
      args    = ["-c", "rm -rf \"$WORKSPACE\""]
    }
  }

  output "orders" {
    value = task.load.output.orders
  }

  output "revenue" {
    value = task.load.output.cents / 100
  }

  output "best_customer" {
    value = task.report.output.best_customer
  }
}
