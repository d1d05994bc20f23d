// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"strings"
)

// defined tells about the definition that a workflow compiles to: "description,owner,labels" and so on, or why it is refused.
func defined(flow string, what func(p play) string) func() string {
	return func() string { return what(play{flow: flow}) }
}

// definition tells a definition's own attributes.
func definition(p play) string {
	def, _, _, problem := p.compile()
	if problem != "" {
		return problem
	}
	return fmt.Sprintf("description=%s owner=%s labels=%v namespace=%s priority=%d timeout=%s on_failure=%s max_parallel=%d",
		def.Description, def.Owner, def.Labels, def.Namespace, def.Priority, def.Timeout, def.OnFailure, def.MaxParallel)
}

// placement is what a rendered job says of where it may run.
func placement(p play) string {
	p.see = "a.body"
	var found []string
	body := p.outcome()
	for _, field := range []string{"Region", "Datacenters", "NodePool", "Namespace", "Priority"} {
		if _, after, ok := strings.Cut(body, `"`+field+`":`); ok {
			end := strings.IndexAny(after, ",}")
			if after[:end] != "null" {
				found = append(found, field+"="+after[:end])
			}
		}
	}
	return strings.Join(found, " ")
}

var workflowTable = map[string][]check{
	"workflow: `description`": {
		{with: defined(`description = "d"`+"\n"+task("a", ""), definition), without: defined(task("a", ""), definition),
			want: "description=d owner= labels=map[] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0"},
		refused("param \"p\" {}\ndescription = param.p\n"+task("a", ""),
			"Not known here: `description` of the workflow cannot refer to param.p. It is needed before any param is known.", "= param.p", "= \"p\""),
	},
	"workflow: `owner`": {
		{with: defined(`owner = "o"`+"\n"+task("a", ""), definition), without: defined(task("a", ""), definition),
			want: "description= owner=o labels=map[] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0"},
	},
	"workflow: `labels`": {
		{with: defined(`labels = { team = "data" }`+"\n"+task("a", ""), definition), without: defined(task("a", ""), definition),
			want: "description= owner= labels=map[team:data] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0"},
		refused("labels = { team = [\"a\"] }\n"+task("a", ""), "Wrong value: `labels` of the workflow must hold text, and \"team\" is a list. Write jsonencode(…) around it.", "[\"a\"]", "\"a\""),
	},
	"workflow: `namespace`": {
		{with: defined(`namespace = "prod"`+"\n"+task("a", ""), placement), without: defined(task("a", ""), placement), want: `Namespace="prod"`},
		{with: defined(task("a", ""), placement), without: defined(`namespace = "prod"`+"\n"+task("a", ""), placement), want: `Namespace="default"`},
		{with: defined(`namespace = "prod"`+"\n"+task("a", `namespace = "own"`), placement), without: defined(`namespace = "prod"`+"\n"+task("a", ""), placement),
			want: `Namespace="own"`},
		refused("namespace = run.id\n"+task("a", ""), "Not known here: `namespace` of the workflow cannot refer to run.id. It is needed before any run exists.", "run.id", "\"n\""),
	},
	"workflow: `region`":      placed("region", "\"eu\"", "\"us\"", "Region", "\"%s\""),
	"workflow: `datacenters`": placed("datacenters", "[\"eu\"]", "[\"us\"]", "Datacenters", "[\"%s\"]"),
	"workflow: `node_pool`":   placed("node_pool", "\"eu\"", "\"us\"", "NodePool", "\"%s\""),
	"workflow: `priority`": {
		{with: defined("priority = 70\n"+task("a", ""), placement), without: defined(task("a", ""), placement), want: `Namespace="default" Priority=70`},
		{with: defined(task("a", ""), definition), without: defined("priority = 51\n"+task("a", ""), definition),
			want: "description= owner= labels=map[] namespace=default priority=50 timeout=0s on_failure=continue max_parallel=0"},
		refused("priority = 101\n"+task("a", ""), "Wrong value: `priority` of the workflow must be a whole number from 1 to 100.", "101", "100"),
		refused("priority = 0\n"+task("a", ""), "Wrong value: `priority` of the workflow must be a whole number from 1 to 100.", "= 0", "= 1"),
	},
	"workflow: `timeout`": {
		sees("timeout = \"5s\"\n"+task("a", "")+finally("f", ""), "a: hang", "run reason took a f", "failed timeout 6s cancelled succeeded", "5s", "50s"),
		sees(task("a", ""), "a: hang", "run", "running", "task", "timeout = \"24h\"\ntask"),
		sees("timeout = \"1h30m\"\n"+task("a", ""), "a: hang", "took", "1h30m0s", "1h30m", "90s"),
		refused("timeout = 90\n"+task("a", ""), "Wrong value: `timeout` of the workflow must be a duration with its unit, such as \"90s\", \"5m\" or \"1h30m\", not a number.", "90", "\"90s\""),
	},
	"workflow: `on_failure`": {
		sees(task("a", "")+task("b", "")+task("c", "depends_on = [task.b]"), "a: exit 1; b: exit 0 in 5s", "run b c", "failed succeeded succeeded",
			"task \"a\"", "on_failure = \"drain\"\ntask \"a\""),
		sees("on_failure = \"drain\"\n"+task("a", "")+task("b", "")+task("c", "depends_on = [task.b]"), "a: exit 1; b: exit 0 in 5s", "b c took", "succeeded omitted 5s", "drain", "continue"),
		sees("on_failure = \"fail_fast\"\n"+task("a", "")+task("b", "")+task("c", "depends_on = [task.b]"), "a: exit 1; b: exit 0 in 5s", "b c took", "cancelled omitted 1s", "fail_fast", "drain"),
		refused("on_failure = \"stop\"\n"+task("a", ""), "Wrong value: `on_failure` of the workflow must be \"continue\", \"drain\" or \"fail_fast\".", "stop", "drain"),
	},
	"workflow: `max_parallel`": {
		sees("max_parallel = 1\n"+ab, "", "took", "2s", "= 1", "= 2"),
		sees(task("a", "count = 50"), "", "took", "1s", "task", "max_parallel = 49\ntask"),
	},
	"workflow: `concurrency { }`": {
		{with: concurrency("concurrency {\n max_runs = 2\n}"), without: concurrency(""), want: "2 queue"},
		{with: concurrency(""), without: concurrency("concurrency {\n max_runs = 2\n}"), want: "none"},
	},
	"workflow: `param \"name\" { }`": {
		given("param \"x\" {\n type = string\n}\n"+echo("a", "param.x", ""), []string{"x=one"}, "a.args", "one", "x=one", "x=two"),
	},
	"workflow: `locals { }`": {
		sees("locals {\n  x = \"one\"\n}\n"+echo("a", "local.x", ""), "", "a.args", "one", "\"one\"", "\"two\""),
		sees("locals {\n x = \"1\"\n}\nlocals {\n y = \"2\"\n}\n"+echo("a", "local.x, local.y", ""), "", "a.args", "1 2", "\"2\"", "\"3\""),
	},
	"workflow: `defaults { }`": {
		sees("defaults {\n  timeout = \"3s\"\n}\n"+task("a", ""), "a: hang", "a.tries took", "timed_out 3s", "3s", "4s"),
	},
	"workflow: `task \"name\" { }`": {
		sees(task("a", "")+task("b", ""), "a: exit 1", "a b run", "failed succeeded failed", "exit 1", "exit 0"),
	},
	"workflow: `finally \"name\" { }`": {
		sees(task("a", "")+finally("f", ""), "a: exit 1", "a f f.began", "failed succeeded 1s", "exit 1", "exit 1 in 2s"),
	},
	"workflow: `output \"name\" { }`": {
		sees(task("a", "output \"n\" {\n type = number\n}")+"output \"x\" {\n  value = task.a.output.n + 1\n}\n", "a: exit 0 n=41", "out.x", "42", "n=41", "n=40"),
	},
}

// placed are the checks of one of the attributes that say where tasks run: a constant, a param, Nomad's own, the task's.
func placed(attr, value, other, fieldName, shape string) []check {
	where := func(params []string, flow string) func() string {
		return func() string { return placement(play{flow: flow, params: params}) }
	}
	seen := func(v string) string { return reordered(fieldName, fmt.Sprintf(shape, v)) }
	byParam := "param \"p\" {\n type = string\n}\n" + attr + " = " + strings.ReplaceAll(value, "\"eu\"", "param.p") + "\n"
	return []check{
		{with: where(nil, attr+" = "+value+"\n"+task("a", "")), without: where(nil, attr+" = "+other+"\n"+task("a", "")), want: seen("eu")},
		{with: where([]string{"p=ap"}, byParam+task("a", "")), without: where([]string{"p=eu"}, byParam+task("a", "")), want: seen("ap")},
		{with: where(nil, task("a", "")), without: where(nil, attr+" = "+value+"\n"+task("a", "")), want: `Namespace="default"`},
		{with: where(nil, attr+" = "+value+"\n"+task("a", attr+" = "+other)), without: where(nil, attr+" = "+value+"\n"+task("a", "")), want: seen("us")},
		refused(attr+" = "+strings.ReplaceAll(value, "\"eu\"", "param.q")+"\n"+task("a", ""), "Unknown param: There is no param q. To have it, write param \"q\" { … } in the workflow.", "param.q", "run.id"),
	}
}

// reordered is what placement tells about a field beside the namespace.
func reordered(fieldName, value string) string {
	return fieldName + "=" + value + ` Namespace="default"`
}

// concurrency tells how many runs of a workflow go at a time.
func concurrency(block string) func() string {
	return defined(block+"\n"+task("a", ""), func(p play) string {
		def, _, _, problem := p.compile()
		switch {
		case problem != "":
			return problem
		case def.Concurrency == nil:
			return "none"
		}
		return fmt.Sprint(def.Concurrency.MaxRuns, " ", def.Concurrency.OnLimit)
	})
}

var concurrencyTable = map[string][]check{
	"concurrency: `max_runs`": {
		{with: concurrency("concurrency {\n max_runs = 3\n}"), without: concurrency("concurrency {\n max_runs = 4\n}"), want: "3 queue"},
		refused("concurrency {\n max_runs = 0\n}\n"+task("a", ""), "Wrong value: `max_runs` must be a whole number from 1 to 1000000.", "= 0", "= 1"),
		refused("concurrency {\n\n}\n"+task("a", ""), "Missing argument: Concurrency needs max_runs: how many runs of workflow w may go at the same time. Write max_runs = 1 for one after the other.", "{\n\n", "{\n max_runs = 1\n"),
	},
	"concurrency: `on_limit`": {
		{with: concurrency("concurrency {\n max_runs = 3\n on_limit = \"queue\"\n}"), without: concurrency("concurrency {\n max_runs = 3\n on_limit = \"skip\"\n}"), want: "3 queue"},
		{with: concurrency("concurrency {\n max_runs = 3\n on_limit = \"skip\"\n}"), without: concurrency("concurrency {\n max_runs = 3\n}"), want: "3 skip"},
		{with: concurrency("concurrency {\n max_runs = 3\n on_limit = \"cancel_running\"\n}"), without: concurrency("concurrency {\n max_runs = 3\n}"), want: "3 cancel_running"},
		refused("concurrency {\n max_runs = 1\n on_limit = \"wait\"\n}\n"+task("a", ""), "Wrong value: `on_limit` must be \"queue\", \"skip\" or \"cancel_running\".", "wait", "queue"),
	},
}

// output is an output x of a run, with more in it.
func output(inside string) string { return "output \"x\" {\n" + inside + "\n}\n" }

var runOutputsTable = map[string][]check{
	"outputs of the run: `value`": {
		{play: play{flow: "param \"p\" {}\nlocals {\n l = \"l\"\n}\n" + writes("a", "") + task("b", "") + output("value = \"${param.p} ${local.l} ${task.a.output.x} ${task.b.status}\""),
			params: []string{"p=7"}, script: "a: exit 0 x=5", see: "out.x"}, want: `"7 l 5 succeeded"`, but: []string{"x=5", "x=6"}},
		sees(task("a", "")+task("b", "depends_on = [task.a]")+output("value = task.b.status"), "b: exit 1", "out.x", `"failed"`, "exit 1", "exit 0"),
		sees(task("a", "")+output("value = [task.a.status]"), "", "out.x run", `["succeeded"] succeeded`, "[task.a.status]", "task.a.status"),
		refused(task("a", "")+output("# none"), "Missing value: output x needs a value, such as value = task.load.output.rows.", "# none", "value = 1"),
		refused(task("a", "")+output("value = run.status"), "Not known here: Output x cannot refer to run.status. How a run ends is known in finally tasks only.", "run.status", "run.id"),
	},
	"outputs of the run: `sensitive`": {
		given("param \"p\" {\n sensitive = true\n}\n"+task("a", "")+output("value = param.p\nsensitive = true"), []string{"p=1"}, "out.x", "(sensitive)", "param.p", "1", "sensitive = true", ""),
		refused("param \"p\" {\n sensitive = true\n}\n"+task("a", "")+output("value = param.p"),
			"Sensitive output: output x carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown.", "param.p", "param.p\n sensitive = true"),
		sees(task("a", "")+output("value = 1"), "", "out.x", "1", "value = 1", "value = 1\nsensitive = true"),
	},
	"outputs of the run: `description`": {
		refused(task("a", "")+output("value = 1\ndescription = [1]"), "Wrong value: `description` must be text, not a list.", "[1]", "\"why\""),
	},
}
