// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// param is a param block, and a task that says what its value is.
func param(inside string) string {
	return fmt.Sprintf("param \"p\" {\n%s\n}\n%s", inside, echo("a", "jsonencode(param.p)", ""))
}

var paramTable = map[string][]check{
	"param: `type`": {
		given(param("type = number"), []string{"p=5"}, "a.args", "5", "number", "string"),
		given(param(""), []string{"p={ n = \"x\" }"}, "a.args", `{"n":"x"}`, "\"x\"", "1"),
		given(param("type = bool"), []string{"p=true"}, "a.args", "true", "bool", "string"),
		given(param("type = list(string)"), []string{"p=[1, 2]"}, "a.args", `["1","2"]`, "string", "number"),
		given(param("type = map(number)"), []string{"p={ a = \"1\" }"}, "a.args", `{"a":1}`, "number", "string"),
		given(param("type = object({ a = string, b = optional(number, 7) })"), []string{`p={ a = "x" }`}, "a.args", `{"a":"x","b":7}`, ", 7", ", 8"),
		notSettled(param("type = number"), []string{"p=five"}, "Invalid param: param p must be a number, not five.", "number", "string"),
	},
	"param: `default`": {
		given(param("type = string\ndefault = formatdate(\"YYYY\", run.scheduled_at)"), nil, "a.args", `"2026"`, "YYYY", "MM"),
		given("locals {\n # of the workflow\n}\nparam \"q\" {\n default = \"${param.p}!\"\n}\n"+param("type = string")+echo("b", "param.q", ""), []string{"p=x"}, "b.args", "x!", "!", "?"),
		notSettled(param("type = string"), nil, "Invalid param: param p is required and was not given. Give it with -param p=….", "type = string", "type = string\ndefault = \"d\""),
		refused(param("default = run.started_at"), "Not known here: `default` of param p cannot refer to run.started_at. The run has not started when its params are settled; use run.scheduled_at.", "started", "scheduled"),
		refused(param("default = param.q")+"param \"q\" {\n default = param.p\n}\n",
			"Params in a circle: param.p -> param.q -> param.p: the default of each needs the next. Take one reference out.", "= param.p", "= 1"),
		refused("locals {\n x = 1\n}\n"+param("default = local.x"),
			"Not known here: `default` of param p cannot refer to local.x. Only locals at the top of the file, outside of the workflow, are known that early.", "local.x", "1"),
		{with: settled("locals {\n x = 1\n}\n" + flowIn("w", param("default = local.x"))), without: settled("locals {\n x = 2\n}\n" + flowIn("w", param("default = local.x"))), want: "1"},
	},
	"param: `description`": {{
		with: describedParam("description = \"why\""), without: describedParam(""), want: "why",
	}},
	"param: `sensitive`": {
		given(param("sensitive = true")+output("value = param.p\nsensitive = true"), []string{"p=\"x\""}, "out.x", "(sensitive)", "sensitive = true", ""),
		notSettled(param("type = number\nsensitive = true"), []string{"p=hunter2"}, "Invalid param: param p must be a number, which it is not; because it is sensitive, it is not shown here.", "hunter2", "2"),
		notSettled(param("type = string\nsensitive = true\nvalidation {\n condition = param.p != \"hunter2\"\n error_message = \"not ${param.p}\"\n}"), []string{"p=hunter2"}, "Invalid param: param p: the value is not allowed (see w.hcl:6).", "=hunter2", "=x"),
	},
	"param: `nullable`": {
		given(param("type = number\nnullable = true\ndefault = null"), nil, "a.args", "null", "= null", "= 1"),
		refused(param("type = number\ndefault = null"), "Wrong value: `default` of param p must not be null. Write nullable = true in it if null means something.", "= null", "= null\nnullable = true"),
		notSettled(param(""), []string{"p=null"}, "Invalid param: param p must not be null. Write nullable = true in it if null means something.", "{\n\n}", "{\nnullable = true\n}"),
	},
	"param: `validation { }`": {
		notSettled(param("type = number\nvalidation {\n condition = param.p > 3\n error_message = \"more than 3.\"\n}\nvalidation {\n condition = param.p < 9\n error_message = \"less than 9.\"\n}"),
			[]string{"p=2"}, "Invalid param: param p: more than 3.", "p=2", "p=4"),
		notSettled(param("type = number\nvalidation {\n condition = param.p > 3\n error_message = \"more than 3.\"\n}\nvalidation {\n condition = param.p < 9\n error_message = \"less than 9.\"\n}"),
			[]string{"p=9"}, "Invalid param: param p: less than 9.", "p=9", "p=4"),
	},
}

// validated is a param p that must be less than a param q.
const validated = "type = number\nvalidation {\n condition = param.p < param.q\n error_message = \"less than ${param.q}, not ${param.p}.\"\n}\n}\nparam \"q\" {\ndefault = 3"

var validationTable = map[string][]check{
	"validation: `condition`": {
		notSettled(param(validated), []string{"p=3"}, "Invalid param: param p: less than 3, not 3.", "p=3", "p=2"),
		notSettled(param("validation {\n condition = param.p[0] == 1\n error_message = \"no.\"\n}"), []string{"p={}"},
			"Invalid param: The validation of param p at w.hcl:4 cannot be evaluated: The given key does not identify an element in this collection value. An object only supports looking up attributes by name, not by numeric index.", "p={}", "p=[1]"),
		refused(param("validation {\n condition = 5\n error_message = \"no.\"\n}"), "Wrong value: `condition` of param p must be true or false, not a number.", "= 5", "= true"),
		refused(param("validation {\n # none\n error_message = \"no.\"\n}"), "Missing argument: A validation needs a condition and an error_message; condition is missing.", "# none", "condition = true"),
		refused(param("validation {\n condition = task.a.status == \"failed\"\n error_message = \"no.\"\n}"),
			"Not known here: `condition` of param p cannot refer to task.a.status. It is needed before any task runs.", "task.a.status", "param.p"),
	},
	"validation: `error_message`": {
		notSettled(param(validated), []string{"p=4"}, "Invalid param: param p: less than 3, not 4.", "p=4", "p=2"),
		refused(param("validation {\n condition = true\n # none\n}"), "Missing argument: A validation needs a condition and an error_message; error_message is missing.", "# none", "error_message = \"no.\""),
	},
}

// settled is what param p of a file's workflow is when nobody gives it.
func settled(text string) func() string {
	return func() string {
		def, diags := hcl.Compile([]workflow.File{{Path: "w.hcl", Bytes: []byte(text)}}, "w")
		if diags.HasErrors() {
			return said(diags)
		}
		params, diags := hcl.Params(def, nil, workflow.RunValues{})
		if diags.HasErrors() {
			return said(diags)
		}
		return shown(params["p"])
	}
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
