// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// writes is a task that gives an output x, as text.
func writes(name, more string) string { return task(name, "output \"x\" {}\n"+more) }

var valuesTable = map[string][]check{
	"Values: `param.x`, `local.x`": {
		{play: play{flow: "param \"x\" {\n type = string\n}\nlocals {\n y = \"${param.x}!\"\n}\n" + echo("a", "param.x, local.y", ""), params: []string{"x=hi"}, see: "a.args"},
			want: "hi hi!", but: []string{"x=hi", "x=ho"}},
	},
	"Values: `task.a.output.x`, `task.a.status`": {
		{play: play{flow: writes("a", "") + echo("b", "task.a.output.x, task.a.status", ""), script: "a: exit 0 x=hi", see: "b.args"}, want: "hi succeeded", but: []string{"x=hi", "x=ho"}},
	},
	"Values: `task.a[\"key\"].output.x`, `task.a[\"key\"].status`": {
		{play: play{flow: writes("a", "for_each = toset([\"k\", \"l\"])\nallow_failure = true") +
			echo("b", "task.a[\"k\"].output.x, task.a[\"l\"].status, jsonencode([for k, t in task.a : k])", ""), script: "a[k]: exit 0 x=hi; a[l]: exit 1", see: "b.args"},
			want: `hi failed ["k","l"]`, but: []string{"exit 1", "exit 0 x=1"}},
	},
	"Values: `task.a[0].output.x`": {
		{play: play{flow: writes("a", "count = 2") + echo("b", "task.a[1].output.x, jsonencode(task.a[*].output.x), length(values(task.a))", ""), script: "a[0]: exit 0 x=p; a[1]: exit 0 x=q", see: "b.args"},
			want: `q ["p","q"] 2`, but: []string{"x=q", "x=r"}},
	},
	"Values: `task.a.status`": {
		{play: play{flow: writes("a", "count = 2\nmin_success = 1") + echo("b", "task.a.status", ""), script: "a[0]: exit 0 x=p; a[1]: exit 1", see: "b.args"}, want: "succeeded", but: []string{"\nmin_success = 1", "\nallow_failure = true"}},
	},
	"Values: `each.key`, `each.value`, `each.index`": {
		{play: play{flow: echo("a", "each.key, each.value, each.index", "for_each = { k = \"v\", l = \"w\" }"), see: "a[1].args"}, want: "l w 1", but: []string{"\"w\"", "\"z\""}},
		{play: play{flow: echo("a", "jsonencode(each.key)", "count = 2"), see: "a[1].args"}, want: `"1"`, but: []string{"each.key", "each.index"}},
	},
	"Values: `attempt.number`": {
		{play: play{flow: echo("a", "attempt.number", "retry {\n max_attempts = 2\n}"), script: "a: exit 1, exit 0", see: "a.args"}, want: "2", but: []string{"= 2", "= 1"}},
	},
	"Values: `run.id`, `.workflow`, `.version`, `.namespace`, `.trigger`, `.url`, `.scheduled_at`, `.started_at`": {
		{play: play{flow: echo("a", "run.workflow, run.namespace, run.trigger, run.scheduled_at, run.started_at, strlen(run.id), substr(run.version, 0, 7), run.url", ""), see: "a.args"},
			want: "w default manual 2026-01-31T02:00:00Z 2026-01-31T02:00:00Z 20 sha256: ", but: []string{"run.workflow", "run.id"}},
	},
	"Values: `run.status`, `run.failed_tasks`": {
		{play: play{flow: task("a", "") + "finally" + echo("f", "run.status, jsonencode(run.failed_tasks)", "")[4:], script: "a: exit 1", see: "f.args"}, want: `failed ["a"]`, but: []string{"exit 1", "exit 0"}},
		{play: play{flow: echo("a", "run.status", ""), see: "a.args"}, but: []string{"run.status", "run.id"},
			want: "invalid: Not known here: The body of task a cannot refer to run.status. How a run ends is known in finally tasks only."},
	},
}
