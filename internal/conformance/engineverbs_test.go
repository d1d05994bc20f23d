// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "slices"

var engineEndings = map[string][]check{
	"engine, How a run ends: it was skipped before it began": {
		{play: play{flow: withFinally, begins: "5s", do: []string{"1s: skip_run why=enough", "2s: stop"}, see: "run reason b f starts"}, want: "skipped enough omitted omitted 0", but: []string{"1s: skip_run", "6s: skip_run"}},
	},
	"engine, How a run ends: somebody stopped or terminated it":             endingRules["How a run ends: stopped or terminated"],
	"engine, How a run ends: its timeout passed":                            endingRules["How a run ends: run timeout"],
	"engine, How a run ends: a finally task failed, and was not allowed to": endingRules["How a run ends: a `finally` task failed without `allow_failure`"],
	"engine, How a run ends: an output of the run cannot be evaluated":      endingRules["How a run ends: a run output cannot be evaluated"],
	"engine, How a run ends: anything else":                                 endingRules["How a run ends: otherwise"],
	"engine, How a run ends: a task failed or was cancelled by hand, was not allowed to, and no handler recovered it": slices.Concat(
		endingRules["How a run ends: a task failed, or was cancelled by hand, and is neither `allow_failure` nor recovered"], endingRules["How a run ends: recovered"]),
}

// sub is a chain whose middle is a child run.
var sub = child("a", "") + finally("f", "")

var engineVerbs = map[string][]check{
	"engine, Verbs: stop": append(slices.Clone(verbRules["Verbs: stop"]), check{
		play: play{flow: sub, also: another, script: "a: hang", do: []string{"5s: stop"}, see: "a a.kill f"}, want: "cancelled stop succeeded", but: []string{"stop", "terminate"},
	}),
	"engine, Verbs: terminate": append(slices.Clone(verbRules["Verbs: terminate"]), check{
		play: play{flow: sub, also: another, script: "a: hang dies 9s", do: []string{"5s: stop", "6s: ? a.kill", "7s: terminate"}, see: "a a.kill f"}, want: "stop | cancelled terminate cancelled", but: []string{"terminate", "stop"},
	}),
	"engine, Verbs: pause": append(slices.Clone(verbRules["Verbs: pause"]), check{
		play: play{flow: child("a", "") + task("b", ""), also: another, script: "a: exit 0 in 9s; b: exit 0 in 5s", do: []string{"2s: pause", "3s: ? run a.held", "6s: ? run a.held"}, see: "run"},
		want: "pausing true | paused true | succeeded", but: []string{"2s: pause", "2s: ? run"},
	}),
	"engine, Verbs: resume": verbRules["Verbs: resume"],
	"engine, Verbs: retry": slices.Concat(verbRules["Verbs: retry"], verbRules["Verbs: retry resets"], []check{
		{play: play{flow: withFinally, script: "b: exit 1", do: []string{"5s: retry", "5s: ? run b c f generation"}, see: "generation"}, want: "queued pending pending pending 2 | 2", but: []string{"5s: retry", "5s: stop"}},
	}),
	"engine, Verbs: skip": {
		fits("skip_run", "stop", runStates, "queued"),
		{play: play{flow: ab, script: "a: exit 1", do: []string{"5s: retry", "5s: skip_run"}, see: "refused"}, want: "run r has begun before and waits to go on; skip is for runs that never began", but: []string{"5s: skip_run", "5s: stop"}},
		{play: play{flow: ab, begins: "5s", do: []string{"1s: skip_run"}, see: "run took starts"}, want: "skipped 1s 0", but: []string{"skip_run", "pause"}},
	},
	"engine, Verbs: cancel": verbRules["Verbs: task cancel"],
	"engine, Verbs: task retry": slices.Concat(verbRules["Verbs: task retry"], []check{
		{play: play{flow: ab, script: "a: exit 1, exit 0", do: []string{"5s: retry_task a", "5s: ? run a"}, see: "run generation"}, want: "queued pending | succeeded 2", but: []string{"5s: retry_task a", "5s: retry_task b"}},
		{play: play{flow: "on_failure = \"drain\"\n" + ab, script: "a: exit 1; b: exit 0 in 9s", do: []string{"5s: retry_task a"}, see: "refused"}, want: "run r is ending (drain); use task retry once it is over", but: []string{"drain", "continue"}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "a: exit 1; f: exit 0 in 9s", do: []string{"5s: retry_task a"}, see: "refused"}, want: "finally has begun in run r; use task retry once the run is over", but: []string{"in 9s", "in 1s"}},
		{play: play{flow: task("a", "") + task("h", handles) + task("keeps", ""), script: "a: exit 1; h: exit 0 in 9s; keeps: exit 0 in 20s", do: []string{"5s: retry_task a"}, see: "refused"}, but: []string{"in 9s", "in 1s"},
			want: "task h, downstream of task a, is running; wait for it or cancel it, then use task retry"},
	}),
	"engine, Verbs: task skip": append(slices.Clone(verbRules["Verbs: task skip"]), check{
		play: play{flow: then, script: "b: exit 1", do: []string{"5s: skip_task b", "6s: ? run b", "9s: retry"}, see: "run b c"}, want: "failed failed | succeeded skipped succeeded", but: []string{"skip_task", "? run"},
	}, check{
		play: play{flow: task("a", "count = 3\nmax_parallel = 1"), script: "a[2]: exit 1", do: []string{"500ms: skip_task a[2]"}, see: "a a[2] starts"}, want: "succeeded skipped 2", but: []string{"skip_task a[2]", "skip_task a[1]"},
	}),
	"engine, Verbs: task succeed": append(slices.Clone(verbRules["Verbs: task succeed"]), check{
		play: play{flow: gives("a", "") + echo("b", "task.a.output.x", ""), script: "a: exit 1", do: []string{"5s: succeed_task a x=\"hand\"", "6s: ? run a", "9s: retry"}, see: "run a b.args"}, want: "failed failed | succeeded succeeded hand", but: []string{"hand", "foot"},
	}, check{
		play: play{flow: gives("a", "count = 2\nmax_parallel = 1") + echo("b", "jsonencode(task.a[*].output.x)", ""), script: "a: exit 0 x=own", do: []string{"500ms: succeed_task a[1] x=\"hand\""}, see: "b.args starts"}, want: `["own","hand"] 2`, but: []string{"hand", "foot"},
	}),
	"engine, Verbs: approve": append(slices.Clone(verbRules["Verbs: approve"]), check{
		play: play{flow: approval("a", "approvers = [\"bob\", \"eve\"]"), do: []string{"4s: approve a by=ann", "5s: approve a by=eve"}, see: "a took refused"}, want: "succeeded 5s task a waits for bob or eve; ann may not decide it", but: []string{"\"eve\"", "\"ann\""},
	}),
	"engine, Verbs: reject": append(slices.Clone(verbRules["Verbs: reject"]), check{
		play: play{flow: approval("a", "approvers = [\"bob\", \"eve\"]"), do: []string{"4s: reject a by=ann", "5s: reject a by=eve"}, see: "a took refused"}, want: "failed 5s task a waits for bob or eve; ann may not decide it", but: []string{"\"eve\"", "\"ann\""},
	}, check{
		play: play{flow: approval("a", "") + task("b", ""), do: []string{"5s: reject a", "6s: ? run", "9s: ? run"}, see: "run a.tries"}, want: "failed | failed | failed failed", but: []string{"reject", "approve"},
	}),
}

// both is what a task writes that waits for z and p, whatever becomes of them.
const both = "depends_on = [task.z, task.p]\ntrigger_rule = \"all_done\"\n"

var engineResets = map[string][]check{
	"engine, What a retry by hand resets: a task that failed, was cancelled or omitted": {
		{play: play{flow: then + task("x", ""), script: "b: exit 1; x: hang", do: []string{"3s: cancel_task x", "5s: ? b c x", "5s: retry", "5s: ? b c x"}, see: "generation"},
			want: "failed omitted cancelled | pending pending pending | 2", but: []string{"5s: retry", "5s: resume"}},
	},
	"engine, What a retry by hand resets: a failed, cancelled or omitted instance of any task": {
		{play: play{flow: task("g", "count = 3\nmin_success = 2") + task("b", ""), script: "g[1]: exit 1; b: exit 1", do: []string{"5s: ? g g[0] g[1]", "5s: retry", "5s: ? g g[0] g[1]"}, see: "g[0].tries g[1].tries"},
			want: "succeeded succeeded failed | pending succeeded pending | succeeded failed,failed", but: []string{"5s: retry", "5s: resume"}},
	},
	"engine, What a retry by hand resets: what was decided by hand since the run was over": {
		{play: play{flow: then + task("d", "count = 2"), script: "b: exit 1; d[1]: exit 1", do: []string{"5s: skip_task b", "6s: succeed_task d[1]", "9s: ? b d[1]", "9s: retry"}, see: "run b b.tries d[1] d[1].tries"},
			want: "failed failed | succeeded skipped failed succeeded failed", but: []string{"skip_task b", "pause"}},
	},
	"engine, What a retry by hand resets: everything downstream of one of these": {
		{play: play{flow: task("b", "") + task("c", "depends_on = [task.b]\ntrigger_rule = \"all_done\"\ncount = 2") + task("d", "depends_on = [task.c]") + task("e", ""), script: "b: exit 1",
			do: []string{"5s: ? c d e", "5s: retry", "5s: ? c c[0] c[1] d e"}, see: "d.tries e.tries"},
			want: "succeeded succeeded succeeded | pending pending pending pending succeeded | succeeded,succeeded succeeded", but: []string{"5s: retry", "5s: resume"}},
	},
	"engine, What a retry by hand resets: all of finally": {
		{play: play{flow: ab + finally("f", "for_each = toset([run.started_at, \"same\"])"), script: "a: exit 1", do: []string{"5s: ? f.keys", "5s: retry", "5s: ? f f[1]"}, see: "f.keys f[1].tries"},
			want: "2026-01-31T02:00:00Z=0:succeeded,same=1:succeeded | pending pending | 2026-01-31T02:00:05Z=2:succeeded,same=1:succeeded succeeded,succeeded", but: []string{"run.started_at", "run.scheduled_at"}},
	},
	"engine, What a retry by hand resets: other instances of a fan-out that failed": {
		{play: play{flow: gives("g", "count = 2") + echo("b", "jsonencode(task.g[*].output.x)", ""), script: "g[0]: exit 0 x=p; g[1]: exit 1, exit 0 x=q", do: []string{"5s: retry"}, see: "g[0].tries g[1].tries b.args"},
			want: `succeeded failed,succeeded ["p","q"]`, but: []string{"retry", "rerun"}},
	},
	"engine, What a retry by hand resets: an expansion": verbRules["Verbs: retry keeps expansions"][:2],
	"engine, What a retry by hand resets: an equal element of an expansion anew": {
		verbRules["Verbs: retry keeps expansions"][1],
		{play: play{flow: elements, script: "z: exit 1, exit 0; p: exit 0 x=k1+l1, exit 0 x=l1+k1", do: []string{"9s: retry"}, see: "a.keys a[0].tries a[1].tries"},
			want: "k=0:succeeded,l=1:succeeded succeeded succeeded", but: []string{"depends_on = [task.z]\n", "depends_on = [task.z]\n", "x=l1+k1", "x=l1+k2"}},
		{play: play{flow: task("z", "") + gives("p", "depends_on = [task.z]\ntrigger_rule = \"all_done\"\n") + task("a", both+"for_each = toset(split(\"+\", task.p.output.x))"), script: "z: exit 1, exit 0; p: exit 0 x=k+l", do: []string{"9s: retry"}, see: "a.keys a[0].tries"},
			want: "k=0:succeeded,l=1:succeeded succeeded,succeeded", but: []string{"depends_on = [task.z, task.p]", "depends_on = [task.p]"}},
	},
	"engine, What a retry by hand resets: another element of an expansion anew": {
		{play: play{flow: elements, script: "z: exit 1, exit 0; p: exit 0 x=k1, exit 0 x=k2+m1", do: []string{"9s: ? a.keys", "9s: retry"}, see: "a.keys"}, want: "k=0:succeeded | k=1:succeeded,m=2:succeeded", but: []string{"k2+", "k1+"}},
	},
	"engine, What a retry by hand resets: a task outside of a rerun": {
		{play: play{flow: then, script: "b: exit 0, exit 1, exit 0", do: []string{"5s: rerun only=b", "9s: retry"}, see: "run b.tries c c.ended"}, want: "succeeded failed,succeeded succeeded 2s", but: []string{"only=b", "from=b"}},
	},
	"engine, What a retry by hand resets: tries, losses, deadlines, run timeout, paused time, run outputs, ending": append(slices.Clone(verbRules["Verbs: retry counts anew"]),
		check{play: play{flow: "timeout = \"9s\"\n" + ab, script: "a: exit 1, hang", do: []string{"500ms: pause", "100s: resume", "200s: retry"}, see: "run reason took"}, want: "failed timeout 3m29s", but: []string{"9s", "8s"}},
		check{play: play{flow: gives("a", "") + task("b", "") + "output \"o\" {\n value = task.a.output.x\n}\n", script: "a: exit 0 x=1; b: exit 1, exit 0", do: []string{"5s: ? out.o", "5s: retry", "5s: ? out.o"}, see: "out.o"}, want: "\"1\" | null | \"1\"", but: []string{"5s: retry", "5s: resume"}},
		check{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + then, script: "a: exit 1, exit 0; b: exit 0 in 5s", do: []string{"9s: ? c", "9s: retry"}, see: "run c"}, want: "omitted | succeeded succeeded", but: []string{"9s: retry", "9s: ? run"}}),
	"engine, What a retry by hand resets: attempt numbers, fences, verdicts": {
		{play: play{flow: tried("max_attempts = 2", ""), script: "a: exit 1, exit 1, exit 0", do: []string{"30s: retry"}, see: "a.fences a.attempts"},
			want: "2 1.1 failed code=1 n1 0s-1s (exit code 1), 1.2 failed code=1 n2 11s-12s (exit code 1), 2.3 succeeded code=0 n3 30s-31s ()", but: []string{"= 2", "= 3"}},
	},
	"engine, What a retry by hand resets: the child run of an attempt that did not end well, with equal params": {
		{play: play{flow: child("a", ""), also: another, script: "a: failed, exit 0", do: []string{"5s: ? a.child", "5s: retry"}, see: "a a.child"}, want: "c1.1 | succeeded c1.2", but: []string{"\n run_workflow", "\n retry {\n max_attempts = 2\n}\n run_workflow"}},
		{play: play{flow: child("a", ""), also: "workflow \"v\" {\n param \"p\" {\n default = 0\n }\n" + task("x", "") + "}\n", script: "a: failed, exit 0", do: []string{"5s: retry"}, see: "a a.child"},
			want: "succeeded c1.2", but: []string{"name = \"v\"", "name = \"v\"\n params = { p = run.started_at }"}},
	},
}
