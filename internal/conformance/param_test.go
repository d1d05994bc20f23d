// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "fmt"

// param is a param block, and a task that says what its value is.
func param(inside string) string {
	return fmt.Sprintf("param \"p\" {\n%s\n}\n%s", inside, echo("a", "jsonencode(param.p)", ""))
}

var paramTable = map[string][]check{
	"param: `type`": {
		{play: play{flow: param("type = number"), params: []string{"p=5"}, see: "a.args"}, want: "5", but: []string{"number", "string"}},
		{play: play{flow: param("type = object({ a = string, b = optional(number, 7) })"), params: []string{`p={ a = "x" }`}, see: "a.args"},
			want: `{"a":"x","b":7}`, but: []string{", 7", ", 8"}},
		{play: play{flow: param("type = number"), params: []string{"p=five"}}, but: []string{"number", "string"},
			want: "invalid: Invalid param: param p must be a number, not five."},
	},
	"param: `default`": {
		{play: play{flow: param("type = string\ndefault = formatdate(\"YYYY\", run.scheduled_at)"), see: "a.args"}, want: `"2026"`, but: []string{"YYYY", "MM"}},
		{play: play{flow: param("type = string"), see: "a.args"}, but: []string{"type = string", "type = string\ndefault = \"d\""},
			want: "invalid: Invalid param: param p is required and was not given. Give it with -param p=…."},
	},
	"param: `description`": {{
		with: describedParam("description = \"why\""), without: describedParam(""), want: "why",
	}},
	"param: `sensitive`": {
		{play: play{flow: param("sensitive = true") + "output \"o\" {\n value = param.p\n sensitive = true\n}", params: []string{"p=\"x\""}, see: "out.o"},
			want: "(sensitive)", but: []string{"sensitive = true", ""}},
		{play: play{flow: param("sensitive = true") + "output \"o\" {\n value = param.p\n}", params: []string{"p=\"x\""}, see: "out.o"}, but: []string{"sensitive = true", ""},
			want: "invalid: Sensitive output: output o carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown."},
	},
	"param: `nullable`": {
		{play: play{flow: param("type = number\nnullable = true\ndefault = null"), see: "a.args"}, want: "null", but: []string{"nullable = true", "nullable = false"}},
	},
	"param: `validation { }`": {
		{play: play{flow: param("type = number\nvalidation {\n condition = param.p > 3\n error_message = \"more than 3.\"\n}"), params: []string{"p=2"}, see: "a"},
			want: "invalid: Invalid param: param p: more than 3.", but: []string{"p=2", "p=4"}},
	},
}

func describedParam(inside string) func() string {
	return func() string {
		def, _, _, problem := play{flow: param(inside), params: []string{"p=1"}}.compile()
		if problem != "" {
			return problem
		}
		return def.Params[0].Description
	}
}
