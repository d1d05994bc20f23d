// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// writes is a task that gives an output x, as text.
func writes(name, more string) string { return task(name, "output \"x\" {}\n"+more) }

// evaluated is what an argument of a task is in a run of which this is known.
func evaluated(expr string, run workflow.RunValues) func() string {
	return func() string {
		def, eval, diags := hcl.CompileAndOpen([]workflow.File{play{flow: echo("a", expr, "")}.file()}, "w")
		if diags.HasErrors() {
			return said(diags)
		}
		v, problem := bodyOf(def, eval, &workflow.Shared{Run: run})
		if problem != "" {
			return problem
		}
		return argsOf(string(v.JSON))
	}
}

// ofRun is the check of one name in run: with the value of that, and with another.
func ofRun(name string, run, other workflow.RunValues, want string) []check {
	return []check{{with: evaluated("run."+name, run), without: evaluated("run."+name, other), want: want}}
}

const keyed = "for_each = toset([\"k\", \"l\"])\nallow_failure = true"

// ending is a finally task that says how the run ends.
func endingWith(args string) string {
	return "finally" + strings.TrimPrefix(echo("f", args, ""), "task")
}

var valuesTable = map[string][]check{
	"Values: `param.x`": {
		given("param \"x\" {\n type = string\n}\n"+echo("a", "param.x", ""), []string{"x=hi"}, "a.args", "hi", "x=hi", "x=ho"),
		refused(echo("a", "param.x", ""), "Unknown param: There is no param x. To have it, write param \"x\" { … } in the workflow.", "task", "param \"x\" {}\ntask"),
	},
	"Values: `local.x`": {
		sees(locals("x = \"hi\"")+echo("a", "local.x", ""), "", "a.args", "hi", "\"hi\"", "\"ho\""),
		{with: folder{"a.hcl": flowIn("w", echo("a", "local.x", "")), "b.hcl": locals("x = \"of the files\"")}.compiles("", "w"),
			without: folder{"a.hcl": flowIn("w", echo("a", "local.x", "")), "b.hcl": locals("x = \"else\"")}.compiles("", "w"), want: "of the files"},
	},
	"Values: `task.a.output.x`": {
		sees(writes("a", "")+echo("b", "task.a.output.x", ""), "a: exit 0 x=hi", "b.args", "hi", "x=hi", "x=ho"),
		refused(writes("a", "count = 1")+echo("b", "task.a.output.x", ""),
			"A task with instances: task a has count, so its instances are told apart by position: write task.a[0].output, or walk all of them with a for expression.", "count = 1", ""),
	},
	"Values: `task.a.status`": {
		sees(task("a", "allow_failure = true")+echo("b", "task.a.status", ""), "a: exit 1", "b.args", "failed", "exit 1", "exit 0"),
		sees(writes("a", "count = 2\nmin_success = 1")+echo("b", "task.a.status", ""), "a[0]: exit 0 x=p; a[1]: exit 1", "b.args", "succeeded", "\nmin_success = 1", "\nallow_failure = true"),
		sees(writes("a", keyed)+echo("b", "task.a.status", ""), "a[k]: exit 0 x=p; a[l]: exit 1", "b.args", "failed", "exit 1", "exit 0 x=q"),
	},
	"Values: `task.a[\"key\"].output.x`": {
		sees(writes("a", keyed)+echo("b", "task.a[\"k\"].output.x", ""), "a[k]: exit 0 x=hi; a[l]: exit 0 x=ho", "b.args", "hi", "\"k\"].", "\"l\"]."),
		sees(writes("a", keyed)+echo("b", "jsonencode(values(task.a)[*].output.x), jsonencode({ for k, t in task.a : k => t.output.x })", ""), "a[k]: exit 0 x=p; a[l]: exit 0 x=q",
			"b.args", `["p","q"] {"k":"p","l":"q"}`, "x=q", "x=r"),
	},
	"Values: `task.a[\"key\"].status`": {
		sees(writes("a", keyed)+echo("b", "task.a[\"k\"].status, task.a[\"l\"].status", ""), "a[k]: exit 0 x=hi; a[l]: exit 1", "b.args", "succeeded failed", "exit 1", "exit 0 x=1"),
	},
	"Values: `task.a[0].output.x`": {
		sees(writes("a", "count = 2")+echo("b", "task.a[1].output.x, task.a[1].status, jsonencode(task.a[*].output.x), length(task.a)", ""), "a[0]: exit 0 x=p; a[1]: exit 0 x=q",
			"b.args", `q succeeded ["p","q"] 2`, "x=q", "x=r"),
	},
	"Values: `each.key`": {
		sees(echo("a", "each.key", "for_each = { k = \"v\", l = \"w\" }"), "", "a[1].args", "l", " l =", " m ="),
		sees(echo("a", "jsonencode(each.key)", "count = 2"), "", "a[1].args", `"1"`, "each.key", "each.index"),
		refused(echo("a", "each.key", "# alone"), "Not known here: The body of task a cannot refer to each.key. The task has neither for_each nor count, so it has no instances.", "# alone", "count = 1"),
	},
	"Values: `each.value`": {
		sees(echo("a", "each.value", "for_each = { k = \"v\", l = \"w\" }"), "", "a[1].args", "w", "\"w\"", "\"z\""),
		sees(echo("a", "jsonencode(each.value)", "count = 2"), "", "a[1].args", "1", "each.value", "each.key"),
	},
	"Values: `each.index`": {
		sees(echo("a", "each.index", "for_each = { k = \"v\", l = \"w\" }"), "", "a[0].args a[1].args", "0 1", "each.index", "each.key"),
	},
	"Values: `attempt.number`": {
		sees(echo("a", "attempt.number", "retry {\n max_attempts = 2\n}"), "a: exit 1, exit 0", "a.args", "2", "= 2", "= 1"),
		refused(echo("a", "attempt.node", ""),
			"Not known here: The body of task a cannot refer to attempt.node. How an attempt ended is known in retry.when only; here there is attempt.number.", "attempt.node", "attempt.number"),
		refused(retrying("when = attempt.nod == \"x\""), "Unknown name in attempt: attempt has no nod. Did you mean `node`?", "nod ", "node "),
	},
	"Values: `run.id`": append(ofRun("id", workflow.RunValues{ID: "r1"}, workflow.RunValues{ID: "r2"}, "r1"),
		sees(echo("a", "strlen(run.id)", ""), "", "a.args", "20", "run.id", "run.workflow")),
	"Values: `run.workflow`": append(ofRun("workflow", workflow.RunValues{Workflow: "w1"}, workflow.RunValues{Workflow: "w2"}, "w1"),
		sees(echo("a", "run.workflow", ""), "", "a.args", "w", "run.workflow", "run.id")),
	"Values: `run.version`": append(ofRun("version", workflow.RunValues{Version: "sha256:1"}, workflow.RunValues{Version: "sha256:2"}, "sha256:1"),
		sees(echo("a", "substr(run.version, 0, 7), strlen(run.version)", ""), "", "a.args", "sha256: 71", "strlen(run.version)", "run.version")),
	"Values: `run.namespace`": append(ofRun("namespace", workflow.RunValues{Namespace: "n1"}, workflow.RunValues{Namespace: "n2"}, "n1"),
		sees(echo("a", "run.namespace", ""), "", "a.args", "default", "run.namespace", "run.id")),
	"Values: `run.trigger`": append(ofRun("trigger", workflow.RunValues{Trigger: "manual"}, workflow.RunValues{Trigger: "rerun"}, "manual"),
		sees(echo("a", "run.trigger", ""), "", "a.args", "manual", "run.trigger", "run.id")),
	"Values: `run.url`": ofRun("url", workflow.RunValues{URL: "https://cairn/runs/1"}, workflow.RunValues{}, "https://cairn/runs/1"),
	"Values: `run.scheduled_at`": append(ofRun("scheduled_at", workflow.RunValues{ScheduledAt: workflow.At(start)}, workflow.RunValues{StartedAt: workflow.At(start)}, "2026-01-31T02:00:00Z"),
		sees(echo("a", "run.scheduled_at", ""), "", "a.args", "2026-01-31T02:00:00Z", "run.scheduled_at", "run.id")),
	"Values: `run.started_at`": append(ofRun("started_at", workflow.RunValues{StartedAt: workflow.At(start)}, workflow.RunValues{ScheduledAt: workflow.At(start)}, "2026-01-31T02:00:00Z"),
		sees(task("b", "")+echo("a", "run.started_at", "depends_on = [task.b]"), "", "a.args", "2026-01-31T02:00:00Z", "run.started_at", "run.id")),
	"Values: `run.status`": {
		sees(task("a", "")+endingWith("run.status"), "a: exit 1", "f.args", "failed", "exit 1", "exit 0"),
		{play: play{flow: task("a", "") + endingWith("run.status"), script: "a: hang", do: []string{"2s: stop"}, see: "f.args"}, want: "cancelled", but: []string{"hang", "exit 1"}},
		refused(echo("a", "run.status", ""), "Not known here: The body of task a cannot refer to run.status. How a run ends is known in finally tasks only.", "run.status", "run.id"),
	},
	"Values: `run.failed_tasks`": {
		sees(task("a", "")+task("b", "")+task("c", "allow_failure = true")+endingWith("jsonencode(run.failed_tasks)"), "a: exit 1 in 3s; b: exit 1; c: exit 1", "f.args", `["a","b"]`, "b: exit 1", "b: exit 0"),
		sees(task("a", "")+endingWith("jsonencode(run.failed_tasks)"), "a: exit 0", "f.args", `[]`, "exit 0", "exit 1"),
		refused(echo("a", "jsonencode(run.failed_tasks)", ""), "Not known here: The body of task a cannot refer to run.failed_tasks. How a run ends is known in finally tasks only.", "run.failed_tasks", "run.id"),
	},
}

const secretParam = "param \"s\" {\n type = string\n sensitive = true\n}\n"

// childParams are the params of a child run as its parent's task gives them, and what the child makes of them.
func childParams(param string) func() string {
	return func() string {
		flow := secretParam + "task \"a\" {\n run_workflow {\n  name = \"child\"\n  params = { p = " + param + " }\n }\n}\n"
		files := []workflow.File{{Path: "w.hcl", Bytes: []byte(flowIn("w", flow) + flowIn("child", "param \"p\" {}\nparam \"q\" {\n default = \"${param.p}!\"\n}\n"+task("a", "")))}}
		def, eval, diags := hcl.CompileAndOpen(files, "w")
		child, moreDiags := hcl.Compile(files, "child")
		if diags.HasErrors() || moreDiags.HasErrors() {
			return said(append(diags, moreDiags...))
		}
		v, problem := bodyOf(def, eval, &workflow.Shared{Params: map[string]workflow.Value{"s": {JSON: json.RawMessage(`"hunter2"`), Sensitive: true}}})
		if problem != "" {
			return problem
		}
		var body workflow.ChildBody
		if err := json.Unmarshal(v.JSON, &body); err != nil {
			return err.Error()
		}
		params, diags := hcl.Params(child, hcl.GivenByParent(body.Params), workflow.RunValues{})
		if diags.HasErrors() {
			return said(diags)
		}
		return fmt.Sprint("p=", shown(params["p"]), " q=", shown(params["q"]))
	}
}

// expanded is what a for_each gives in a run whose param p turned out to be sensitive, as one of a child run may, or not.
func expanded(forEach string, sensitive bool) func() string {
	return func() string {
		def, eval, diags := hcl.CompileAndOpen([]workflow.File{play{flow: "param \"p\" {}\n" + task("a", "for_each = "+forEach)}.file()}, "w")
		if diags.HasErrors() {
			return said(diags)
		}
		p := workflow.Value{JSON: json.RawMessage(`"hunter2"`), Sensitive: sensitive}
		v, err := eval.Evaluate(*def.Tasks[0].ForEach, workflow.Scope{Shared: &workflow.Shared{Params: map[string]workflow.Value{"p": p}}})
		if err != nil {
			return err.Error()
		}
		return string(v.JSON)
	}
}

var sensitiveTable = map[string][]check{
	"sensitive values: declared": {
		given("param \"s\" {\n sensitive = true\n}\n"+task("a", "")+output("value = issensitive(param.s)\nsensitive = true"), []string{"s=1"}, "out.x", "(sensitive)", "sensitive = true", ""),
		sees(out("sensitive = true"), "a: exit 0 x=5", "a.out.x", "(sensitive)", "true", "false"),
		{play: play{flow: "task \"a\" {\n approval {\n  input \"x\" {\n   sensitive = true\n  }\n }\n}\n", do: []string{"1s: approve a x=\"1\""}, see: "a a.out.x"},
			want: "succeeded (sensitive)", but: []string{"true", "false"}},
		sees(task("a", "")+output("value = sensitive(1)\nsensitive = true"), "", "out.x", "(sensitive)", "\nsensitive = true", "", "sensitive(1)", "1"),
	},
	"sensitive values: travels": {
		refused(secretParam+task("a", "")+output("value = upper(\"${param.s}!\")"),
			"Sensitive output: output x carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown.", "param.s}", "run.id}"),
		refused(secretParam+locals("x = [param.s]")+task("a", "")+output("value = local.x"),
			"Sensitive output: output x carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown.", "[param.s]", "[1]"),
		notSettled(secretParam+"param \"t\" {\n type = number\n default = length(param.s) > 1 ? 1 : \"x\"\n}\n"+task("a", ""), []string{"s=x"}, "Invalid param: param t must be a number, which it is not; because it is sensitive, it is not shown here.", "s=x", "s=xy"),
	},
	"sensitive values: run output": {
		refused(secretParam+task("a", "")+output("value = param.s"),
			"Sensitive output: output x carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown.", "value = param.s", "value = param.s\nsensitive = true"),
	},
	"sensitive values: keys": {
		refused(secretParam+task("a", "for_each = toset([param.s])"),
			"Sensitive keys: `for_each` of task a is sensitive, and the keys of instances are shown everywhere. Use nonsensitive() around what may be shown.", "param.s", "run.id"),
		refused(secretParam+task("a", "for_each = [param.s]\nkey = each.value"),
			"Sensitive key: `key` of task a is sensitive, and keys are shown everywhere. Use nonsensitive() if it may be shown.", "= each.value", "= each.index"),
		refused(secretParam+task("a", "for_each = [{ n = \"x\", s = param.s }]\nkey = each.value.s"),
			"Sensitive key: `key` of task a is sensitive, and keys are shown everywhere. Use nonsensitive() if it may be shown.", "value.s", "value.n"),
		{with: expanded("toset([param.p])", true), without: expanded("toset([param.p])", false),
			want: "w.hcl:8: `for_each` of task a is sensitive, and the keys of instances are shown everywhere. Use nonsensitive() around what may be shown."},
		{with: expanded("[param.p]\nkey = each.value", true), without: expanded("[param.p]\nkey = each.value", false),
			want: "w.hcl:9: `key` of task a is sensitive, and keys are shown everywhere. Use nonsensitive() if it may be shown."},
		{with: expanded("[{ n = \"x\", p = param.p }]\nkey = each.value.n", true), without: expanded("[{ n = param.p, p = param.p }]\nkey = each.value.n", true), want: `[{"n":"x","p":"hunter2"}]`},
	},
	"sensitive values: child run": {
		{with: childParams("param.s"), without: childParams("\"open\""), want: "p=(sensitive) q=(sensitive)"},
		{with: childParams("nonsensitive(param.s)"), without: childParams("param.s"), want: `p="hunter2" q="hunter2!"`},
	},
	"sensitive values: lifted": {
		given(secretParam+task("a", "")+output("value = nonsensitive(param.s)"), []string{"s=x"}, "out.x", `"x"`, "nonsensitive", ""),
	},
	"sensitive values: messages": {
		given(secretParam+task("a", "when = param.s == \"hunter2\" ? tobool(param.s) : true"), []string{"s=hunter2"}, "a a.reason",
			"invalid: Invalid function argument: The expression reads sensitive values, so what exactly is wrong with it is not shown.", "s=hunter2", "s=true"),
		given(secretParam+"param \"o\" {\n type = string\n}\n"+task("b", "")+task("a", "depends_on = [task.b]\nwhen = tobool(param.s)"), []string{"s=hunter2", "o=hunter2"}, "a.reason",
			"w.hcl:22: `when` of task a: Invalid function argument. The expression reads sensitive values, so what exactly is wrong with it is not shown.", "tobool(param.s)", "tobool(param.o)"),
	},
	"sensitive values: in clear": {
		warned(secretParam+echo("a", "param.s", "")+echo("b", "param.s", ""),
			"Sensitive, and in clear: The body of task a reads sensitive values. Cairn never shows them, but the Nomad job and Consul hold them in clear. Secrets belong into a template block that reads Vault or a Nomad variable.",
			"param.s", "run.id"),
		{with: findings(secretParam + echo("a", "param.s", "") + echo("b", "param.s", "")), without: findings(secretParam), want: "1 valid"},
		given(secretParam+echo("a", "param.s", ""), []string{"s=hunter2"}, "a.args", "hunter2", "s=hunter2", "s=x"),
	},
}
