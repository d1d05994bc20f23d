// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "strings"

// listParam is a param of any type, for what is not known before the run.
const listParam = "param \"l\" {}\n"

var fanOutRules = map[string][]check{
	"Fan-out: terminal": {
		{play: play{flow: task("a", "count = 3") + task("b", "depends_on = [task.a]"), script: "a[1]: exit 0 in 9s", do: []string{"5s: ? a a[0] a[1] b"}, see: "a b.began"},
			want: "running succeeded running pending | succeeded 9s", but: []string{"9s", "2s"}},
	},
	"Fan-out: success": {
		{play: play{flow: task("a", "count = 3\nmin_success = 2"), script: "a[0]: exit 1", see: "a run"}, want: "succeeded succeeded", but: []string{"\nmin_success = 2", ""}},
		{play: play{flow: task("a", "count = 3\nmin_success = 2"), script: "a[0]: exit 1; a[1]: exit 1", see: "a"}, want: "failed", but: []string{"a[1]: exit 1", "a[1]: exit 0"}},
		{play: play{flow: task("a", "count = 2\nmax_parallel = 1"), script: "a[1]: exit 1", do: []string{"500ms: skip_task a[1]"}, see: "a[1] a"},
			want: "skipped succeeded", but: []string{"skip_task a[1]", "skip_task a[0]"}},
	},
	"Fan-out: no success": {
		{play: play{flow: task("a", "count = 2"), script: "a[0]: hang; a[1]: exit 1", do: []string{"500ms: cancel_task a[0]"}, see: "a a[0]"},
			want: "failed cancelled", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: task("a", "count = 2"), script: "a[0]: hang", do: []string{"500ms: cancel_task a[0]"}, see: "a a[0] a[1]"},
			want: "cancelled cancelled succeeded", but: []string{"a[0]: hang", "a[0]: hang; a[1]: exit 1"}},
	},
	"Fan-out: `min_success`": {
		{play: play{flow: task("a", "count = 2\nmin_success = 1"), script: "a[1]: exit 1 in 9s", see: "a a.ended"}, want: "succeeded 9s", but: []string{"9s", "2s"}},
		{play: play{flow: task("a", "count = 2\nmin_success = 9"), see: "a"}, want: "succeeded", but: []string{"count = 2\n", "count = 2\nwhen = false\n"}},
		{play: play{flow: task("a", "count = 2\nmin_success = 9"), script: "a[1]: exit 1", see: "a"}, want: "failed", but: []string{"9", "1"}},
	},
	"Fan-out: after one failed": {
		{play: play{flow: task("a", "count = 4\nmax_parallel = 1\nmin_success = 2"), script: "a[0]: exit 1", see: "a a[1] a[3]"},
			want: "succeeded succeeded succeeded", but: []string{"min_success = 2", "min_success = 4"}},
	},
	"Fan-out: impossible": {
		{play: play{flow: task("a", "count = 4\nmax_parallel = 2\nmin_success = 4"), script: "a[0]: exit 1; a[1]: exit 0 in 5s", see: "a a[1] a[2] a[3] took"},
			want: "failed succeeded omitted omitted 5s", but: []string{"min_success = 4", "min_success = 3"}},
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "count = 4\nmax_parallel = 2"), script: "a[0]: exit 1; a[1]: exit 0 in 5s", see: "a a[1] a[2] took"},
			want: "failed cancelled omitted 1s", but: []string{"fail_fast", "continue"}},
	},
	"Fan-out: empty": {
		{play: play{flow: listParam + task("a", "for_each = param.l") + echo("b", "jsonencode(task.a), task.a.status", ""), params: []string{"l={}"}, see: "a a.reason b.args"},
			want: "skipped no instances {} skipped", but: []string{"l={}", "l={k=1}"}},
		{play: play{flow: listParam + task("a", "count = param.l") + echo("b", "jsonencode(task.a)", ""), params: []string{"l=0"}, see: "a b.args"},
			want: "skipped []", but: []string{"l=0", "l=1"}},
	},
	"Fan-out: identity": {
		{play: play{flow: listParam + task("a", "for_each = param.l\nkey = each.value.n"), params: []string{"l=[{n=\"x\"},{n=\"x\"}]"}, see: "a a.reason"},
			want: "failed w.hcl:8: the key \"x\" occurs twice", but: []string{"{n=\"x\"}]", "{n=\"y\"}]"}},
		{play: play{flow: listParam + task("a", "for_each = { \"${param.l}\" = 1 }"), params: []string{"l=\"" + strings.Repeat("k", 129) + "\""}, see: "a a.reason"},
			want: "invalid: Wrong value: `for_each` of task a gives a key of 129 bytes; at most 128 are allowed.", but: []string{"kk\"", "k\""}},
		{play: play{flow: task("a", "for_each = toset([\"p\", \"q\"])") + echo("b", "task.a[\"q\"].status", ""), script: "a[q]: exit 0 in 2s", see: "b.args"},
			want: "succeeded", but: []string{"exit 0", "exit 1"}},
	},
	"Fan-out: once": {
		{play: play{flow: task("a", "for_each = toset([run.started_at])"), script: "a: exit 1, exit 0", do: []string{"9s: retry"}, see: "a.keys"},
			want: "2026-01-31T02:00:00Z=0:succeeded", but: []string{"retry", "rerun"}},
	},
	"Fan-out: order": {
		{play: play{flow: task("a", "max_parallel = 1\nfor_each = { z = 1, a = 2 }"), see: "a.keys"}, want: "a=0:succeeded,z=1:succeeded", but: []string{"z = 1", "y = 1"}},
		{play: play{flow: task("a", "for_each = toset([\"z\", \"a\"])"), see: "a.keys"}, want: "a=0:succeeded,z=1:succeeded", but: []string{"\"z\", \"a\"", "\"z\""}},
		{play: play{flow: task("a", "for_each = [\"z\", \"a\"]\nkey = each.value"), see: "a.keys"}, want: "z=0:succeeded,a=1:succeeded", but: []string{"[\"z\", \"a\"]\nkey = each.value", "toset([\"z\", \"a\"])"}},
		{play: play{flow: task("a", "count = 2"), see: "a.keys"}, want: "0=0:succeeded,1=1:succeeded", but: []string{"2", "3"}},
	},
	"Fan-out: `when`": {
		{play: play{flow: task("a", "count = 2\nwhen = each.index == 0"), see: "a"}, but: []string{"each.index", "0"},
			want: "invalid: Not known here: `when` of task a cannot refer to each.index. each.* belongs to one instance, and this is evaluated once for the whole task."},
		{play: play{flow: task("a", "count = 2\nwhen = false"), see: "a a.size"}, want: "skipped 0", but: []string{"false", "true"}},
	},
	"Fan-out: outputs": {
		{play: play{flow: gives("a", "count = 2\nallow_failure = true") + echo("b", "jsonencode(task.a[*].output.x)", ""), script: "a[0]: exit 0 x=p; a[1]: exit 1 x=q", see: "b.args"},
			want: `["p",null]`, but: []string{"exit 1", "exit 0"}},
		{play: play{flow: task("a", "count = 2\nallow_failure = true\noutput \"x\" {\n default = \"d\"\n}") + echo("b", "jsonencode(task.a[*].output.x)", ""), script: "a[0]: exit 0 x=p; a[1]: exit 1 x=q", see: "b.args"},
			want: `["p","d"]`, but: []string{"default = \"d\"", "default = \"e\""}},
	},
	"Fan-out: walking": {
		{with: warningsOf(walking("task.a[*].status")), without: warningsOf("locals {\n all = jsonencode(task.a[*].status)\n}\n" + walking("local.all")), want: "A walk in every instance: task.a has 1001 instances, and every instance of task b walks all of them. Put the expression into locals, where it is evaluated once."},
	},
}

// walking is a fan-out whose body walks another.
func walking(over string) string {
	return task("a", "count = 1001") + echo("b", strings.Replace("jsonencode(OVER)", "OVER", over, 1), "count = 1001")
}

// warningsOf are the warnings about a workflow.
func warningsOf(flow string) func() string {
	return func() string { return warnings(flow) }
}
