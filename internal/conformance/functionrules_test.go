// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "fmt"

// calls wants an expression to give something, and another one something else.
func calls(expr, want, other string) check {
	return check{with: calling(expr), without: calling(other), want: want}
}

// callsIn is the same for expressions over files, as a text.
func callsIn(f folder, expr, want, other string) check {
	in := func(expr string) func() string {
		return f.with("a.hcl", flowIn("w", echo("a", expr, ""))).compiles("a.hcl", "w")
	}
	return check{with: in(expr), without: in(other), want: want}
}

var functionRules = map[string][]check{
	"Functions: `reverse`": {
		calls(`reverse("abc")`, `"cba"`, `reverse("ab")`), calls("reverse([1, 2])", "[2,1]", "reverse([2, 1])"),
	},
	"Functions: `values`": {
		calls("values({ b = 1, a = 2 })", "[2,1]", "values({ b = 2, a = 1 })"), calls("values(tomap({ b = 1, a = 2 }))", "[2,1]", "values(tomap({ b = 2, a = 1 }))"),
		calls("values([3, 1])", "[3,1]", "values([1, 3])"),
		sees(writes("a", "count = 2")+echo("b", "jsonencode(values(task.a)[*].output.x)", ""), "a[0]: exit 0 x=p; a[1]: exit 0 x=q", "b.args", `["p","q"]`, "x=q", "x=r"),
	},
	"Functions: `length`": {
		calls("length([1, 1])", "2", "length(toset([1, 1]))"), calls("length({ a = 1 })", "1", "length({})"), calls(`length("äb")`, "2", `length("b")`),
	},
	"Functions: `index`": {
		calls(`index(["a", "b"], 1)`, `"b"`, `index(["a", "b"], 0)`), calls(`index(tomap({ a = "x" }), "a")`, `"x"`, `index(tomap({ a = "y" }), "a")`),
		calls(`index(["a", "b"], "b")`, "1", `index(["a", "b"], "a")`), calls("index([true, false], false)", "1", "index([true, false], true)"),
	},
	"Functions: `convert`": {
		calls("convert([1], list(string))", `["1"]`, "convert([1], list(number))"), calls(`convert("true", bool)`, "true", `convert("true", string)`),
	},
	"Functions: `replace`": {
		calls(`replace("a.b.", ".", "-")`, `"a-b-"`, `regex_replace("a.b.", ".", "-")`), calls(`replace("a1", "/[0-9]/", "-")`, `"a1"`, `regex_replace("a1", "[0-9]", "-")`),
	},
	"Functions: `sum`": {calls("sum([])", "0", "sum([1])")},
	"Functions: `templatefile`": {
		callsIn(folder{"t": "${upper(x)} %{ for n in list }${n};%{ endfor }"}, `templatefile("t", { x = "a", list = [1, 2] })`, "A 1;2;", `templatefile("t", { x = "a", list = [1] })`),
		callsIn(folder{"t": "${x}", "n": "note", "u": "${file(\"n\")}"}, `templatefile("u", {})`, "note", `templatefile("t", { x = 1 })`),
		callsIn(folder{"t": "${x}"}, `templatefile("t", { y = 1 })`,
			"invalid: Invalid function argument: Invalid value for \"vars\" parameter of templatefile: t:1 uses x, which is not among the names given. For the text itself write $${…}.", `templatefile("t", { x = 1 })`),
		callsIn(folder{"t": "${templatefile(\"u\", {})}", "u": "u"}, `templatefile("t", {})`,
			"invalid: Invalid function argument: Invalid value for \"path\" parameter of templatefile: t:1: templatefile: a template cannot render another one. Render both in the workflow and pass one to the other.", `templatefile("u", {})`),
	},
	"Functions: `timeaddmonths`": {
		calls(`timeaddmonths("2026-01-31T02:00:00Z", 1)`, `"2026-02-28T02:00:00Z"`, `timeaddmonths("2026-01-31T02:00:00Z", 2)`),
		calls(`timeaddmonths("2028-01-31T02:00:00Z", 1)`, `"2028-02-29T02:00:00Z"`, `timeaddmonths("2026-01-31T02:00:00Z", 1)`),
		calls(`timeaddmonths("2026-03-31T02:00:00Z", -1)`, `"2026-02-28T02:00:00Z"`, `timeaddmonths("2026-03-31T02:00:00Z", -2)`),
	},
	"Functions: `timetrunc`": truncations(map[string]string{
		"second": "2026-05-30T13:14:15Z", "minute": "2026-05-30T13:14:00Z", "hour": "2026-05-30T13:00:00Z", "day": "2026-05-30T00:00:00Z",
		"week": "2026-05-25T00:00:00Z", "month": "2026-05-01T00:00:00Z", "quarter": "2026-04-01T00:00:00Z", "year": "2026-01-01T00:00:00Z",
	}),
	"Functions: `weekday`": {
		calls(`weekday("2026-02-02T02:00:00Z")`, "1", `weekday("2026-02-03T02:00:00Z")`), calls(`weekday("2026-02-01T02:00:00Z")`, "7", `weekday("2026-02-02T02:00:00Z")`),
	},
	"Functions: a time": {
		calls(`timeadd("2026-01-31T02:00:00.123456789+09:00", "1h")`, `"2026-01-31T03:00:00.123456789+09:00"`, `timeadd("2026-01-31T02:00:00.123456789Z", "1h")`),
		calls(`timetrunc("2026-01-31T02:00:00+09:00", "day")`, `"2026-01-31T00:00:00+09:00"`, `timetrunc("2026-01-31T02:00:00+09:00", "day", "UTC")`),
		calls(`timeaddmonths("2026-01-31T02:00:00.000000001+09:00", 0)`, `"2026-01-31T02:00:00.000000001+09:00"`, `timeaddmonths("2026-01-31T02:00:00+09:00", 0)`),
	},
}

// truncations are the checks that every unit cuts a time to this, and another time to something else.
func truncations(units map[string]string) (list []check) {
	for unit, want := range units {
		list = append(list, calls(fmt.Sprintf(`timetrunc("2026-05-30T13:14:15.16Z", %q)`, unit), fmt.Sprintf("%q", want), fmt.Sprintf(`timetrunc("2027-05-30T13:14:15.16Z", %q)`, unit)))
	}
	return append(list, refused(task("a", "when = timetrunc(run.started_at, \"decade\") == \"\""),
		"Invalid function argument: Invalid value for \"unit\" parameter of timetrunc: the unit is one of second, minute, hour, day, week, month, quarter, year.", "decade", "year"))
}

// leftOut is the check that a call is refused with a reason, and that what to write instead is not.
func leftOut(call, why, instead string) []check {
	return []check{refused(output("value = "+call)+task("a", ""), "Error in function call: "+why, call, instead)}
}

var functionsLeftOut = map[string][]check{
	"Functions: `timestamp`":        leftOut("timestamp()", "Call to function \"timestamp\" failed: it would give another value each time. Use run.started_at or run.scheduled_at.", "run.started_at"),
	"Functions: `plantimestamp`":    leftOut("plantimestamp()", "Call to function \"plantimestamp\" failed: it would give another value each time. Use run.started_at or run.scheduled_at.", "run.scheduled_at"),
	"Functions: `uuid`":             leftOut("uuid()", "Call to function \"uuid\" failed: it would give another value each time. Use run.id, or a hash of it.", "run.id"),
	"Functions: `uuidv4`":           leftOut("uuidv4()", "Call to function \"uuidv4\" failed: it would give another value each time. Use run.id, or a hash of it.", "md5(run.id)"),
	"Functions: `bcrypt`":           leftOut("bcrypt(\"x\")", "Call to function \"bcrypt\" failed: it would give another value each time. Use sha256(…), or compute it inside the task.", "md5(\"x\")"),
	"Functions: `fileset`":          leftOut("fileset(\".\", \"*\")", "Call to function \"fileset\" failed: which files there are may change unseen. Name each of them with file(…).", "[file(\"w.hcl\")]"),
	"Functions: `abspath`":          leftOut("abspath(\"x\")", "Call to function \"abspath\" failed: paths of this machine mean nothing on the worker. Compute it inside the task.", "\"x\""),
	"Functions: `pathexpand`":       leftOut("pathexpand(\"~\")", "Call to function \"pathexpand\" failed: paths of this machine mean nothing on the worker. Compute it inside the task.", "\"~\""),
	"Functions: `templatestring`":   leftOut("templatestring(\"x\", {})", "Call to function \"templatestring\" failed: data would become a template. Write the template into a file and render it with templatefile(…).", "templatefile(\"w.hcl\", {})"),
	"Functions: `base64gzip`":       leftOut("base64gzip(\"x\")", "Call to function \"base64gzip\" failed: compressed bytes differ between versions of the compressor. Compress inside the task.", "base64encode(\"x\")"),
	"Functions: `textencodebase64`": leftOut("textencodebase64(\"x\", \"UTF-8\")", "Call to function \"textencodebase64\" failed: all text here is UTF-8. Convert it inside the task.", "base64encode(\"x\")"),
	"Functions: `textdecodebase64`": leftOut("textdecodebase64(\"eA==\", \"UTF-8\")", "Call to function \"textdecodebase64\" failed: all text here is UTF-8. Convert it inside the task.", "base64decode(\"eA==\")"),
	"Functions: `ephemeralasnull`":  leftOut("ephemeralasnull(1)", "Call to function \"ephemeralasnull\" failed: no value is ephemeral here. Leave it out.", "1"),
	"Functions: `type`":             leftOut("type(1)", "Call to function \"type\" failed: it is for Terraform's console only. Use can(tonumber(…)) and the like.", "can(tonumber(1))"),
	"Functions: `list`":             leftOut("list(1)", "Call to function \"list\" failed: it is gone from Terraform too. Write [ … ] or { … }, or tolist(…) and tomap(…).", "[1]"),
	"Functions: `map`":              leftOut("map(\"a\", 1)", "Call to function \"map\" failed: it is gone from Terraform too. Write [ … ] or { … }, or tolist(…) and tomap(…).", "{ a = 1 }"),
}
