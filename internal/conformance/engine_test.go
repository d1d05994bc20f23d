// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "slices"

// The package documentation of engine states many rules of the language once more, and what else holds of them.

var engineRunStatuses = map[string][]check{
	"engine, Statuses of a run: queued": append(slices.Clone(runStatusRules["of a run: `queued`"]), check{
		play: play{flow: ab, script: "a: exit 1", do: []string{"5s: retry", "5s: ? run a b"}, see: "run"}, want: "queued pending succeeded | failed", but: []string{"5s: retry", "5s: pause"},
	}),
	"engine, Statuses of a run: running": append(slices.Clone(runStatusRules["of a run: `running`"]), check{
		play: play{flow: then, do: []string{"500ms: ? run", "1500ms: ? run c"}, see: "run"}, want: "running | running running | succeeded", but: []string{"500ms: ? run", "500ms: pause"},
	}),
	"engine, Statuses of a run: pausing":   slices.Concat(runStatusRules["of a run: `pausing`"], verbRules["Verbs: pause"]),
	"engine, Statuses of a run: paused":    slices.Concat(runStatusRules["of a run: `paused`"], endingRules["How a run ends: paused"]),
	"engine, Statuses of a run: succeeded": runStatusRules["of a run: `succeeded`"],
	"engine, Statuses of a run: failed":    runStatusRules["of a run: `failed`"],
	"engine, Statuses of a run: cancelled": runStatusRules["of a run: `cancelled`"],
	"engine, Statuses of a run: skipped": append(slices.Clone(runStatusRules["of a run: `skipped`"]), check{
		play: play{flow: ab, begins: "5s", do: []string{"1s: skip_run"}, see: "run reason a"}, want: "skipped its workflow has enough runs already omitted", but: []string{"skip_run", "stop"},
	}),
	"engine, Statuses of a run: stopping": append(slices.Clone(runStatusRules["of a run: `stopping`"]), check{
		play: play{flow: ab, script: "a: hang dies 5s", do: []string{"2s: terminate", "3s: ? run"}, see: "run took"}, want: "stopping | cancelled 7s", but: []string{"2s: terminate", "2s: cancel_task a"},
	}, check{
		play: play{flow: "timeout = \"2s\"\n" + withFinally, script: "b: hang dies 5s; f: exit 0 in 5s", do: []string{"3s: ? run", "9s: ? run f"}, see: "run took"},
		want: "stopping | stopping running | failed 12s", but: []string{"\"2s\"", "\"20s\""},
	}),
}

var engineTaskStatuses = map[string][]check{
	"engine, Statuses of tasks and instances: pending":  taskStatusRules["of tasks and instances: `pending`"],
	"engine, Statuses of tasks and instances: queued":   taskStatusRules["of tasks and instances: `queued`"],
	"engine, Statuses of tasks and instances: waiting":  taskStatusRules["of tasks and instances: `waiting`"],
	"engine, Statuses of tasks and instances: starting": taskStatusRules["of tasks and instances: `starting`"],
	"engine, Statuses of tasks and instances: running":  taskStatusRules["of tasks and instances: `running`"],
	"engine, Statuses of tasks and instances: succeeded": append(slices.Clone(taskStatusRules["of tasks and instances: `succeeded`"]), check{
		play: play{flow: then, script: "c: exit 1", do: []string{"500ms: succeed_task c"}, see: "c c.tries c.reason"}, want: "succeeded  taken for succeeded by hand by ann", but: []string{"succeed_task", "? c"},
	}),
	"engine, Statuses of tasks and instances: failed": append(slices.Clone(taskStatusRules["of tasks and instances: `failed`"]), check{
		play: play{flow: tried("max_attempts = 2", "") + task("b", ""), script: "a: exit 1, exit 1, exit 0", do: []string{"5s: ? a"}, see: "a"}, want: "waiting | failed", but: []string{"= 2", "= 3"},
	}),
	"engine, Statuses of tasks and instances: skipped": append(slices.Clone(taskStatusRules["of tasks and instances: `skipped`"]),
		check{play: play{flow: ruled("one_failed"), see: "t"}, want: "skipped", but: []string{"one_failed", "all_done"}},
		check{play: play{flow: task("a", "count = 0"), see: "a"}, want: "skipped", but: []string{"0", "1"}},
		check{play: play{flow: child("a", ""), also: another, script: "a: skipped", see: "a a.tries a.reason"}, want: "skipped succeeded skipped", but: []string{"a: skipped", "a: exit 0"}},
		check{play: play{flow: then, do: []string{"500ms: skip_task c"}, see: "c"}, want: "skipped", but: []string{"skip_task", "succeed_task"}}),
	"engine, Statuses of tasks and instances: omitted": append(slices.Clone(taskStatusRules["of tasks and instances: `omitted`"]),
		endingRules["How a run ends: never begun"][:2]...),
	"engine, Statuses of tasks and instances: cancelled": slices.Concat(taskStatusRules["of tasks and instances: `cancelled`"], endingRules["How a run ends: never begun"][2:]),
}

var engineVerdicts = map[string][]check{
	"engine, Verdicts of attempts: succeeded": append(slices.Clone(verdictRules["of attempts: `succeeded`"]),
		check{play: play{flow: approval("a", ""), do: []string{"5s: approve a"}, see: "a.tries"}, want: "succeeded", but: []string{"approve", "reject"}},
		check{play: play{flow: wait("a", "5s"), see: "a.tries took"}, want: "succeeded 5s", but: []string{"5s", "6s"}}),
	"engine, Verdicts of attempts: failed": append(slices.Clone(verdictRules["of attempts: `failed`"]),
		check{play: play{flow: approval("a", ""), do: []string{"5s: reject a"}, see: "a.tries"}, want: "failed", but: []string{"reject", "approve"}},
		check{play: play{flow: child("a", ""), also: another, script: "a: failed", see: "a a.tries"}, want: "failed failed", but: []string{"a: failed", "a: exit 0"}},
		check{play: play{flow: call("a", ""), script: "a: failed", see: "a a.tries"}, want: "failed failed", but: []string{"a: failed", "a: error"}}),
	"engine, Verdicts of attempts: timed_out":   verdictRules["of attempts: `timed_out`"],
	"engine, Verdicts of attempts: error":       verdictRules["of attempts: `error`"],
	"engine, Verdicts of attempts: lost":        verdictRules["of attempts: `lost`"],
	"engine, Verdicts of attempts: interrupted": verdictRules["of attempts: `interrupted`"],
	"engine, Verdicts of attempts: cancelled": append(slices.Clone(verdictRules["of attempts: `cancelled`"]),
		check{play: play{flow: "on_failure = \"fail_fast\"\n" + ab, script: "a: exit 1; b: hang", see: "b.tries"}, want: "cancelled", but: []string{"exit 1", "interrupted in 5s", "b: hang", "b: exit 1"}}),
}

var engineStarts = map[string][]check{
	"engine, When a task starts: all_success": slices.Concat(triggerRules["Trigger rules: `all_success`"], startingRules["Trigger rules: `skip_branch`"][:1], startingRules["Trigger rules: `allow_failure`"][:1]),
	"engine, When a task starts: none_failed": slices.Concat(triggerRules["Trigger rules: `none_failed`"], startingRules["Trigger rules: `allow_failure`"][1:2]),
	"engine, When a task starts: all_done":    triggerRules["Trigger rules: `all_done`"],
	"engine, When a task starts: one_success": triggerRules["Trigger rules: `one_success`"],
	"engine, When a task starts: one_failed":  slices.Concat(triggerRules["Trigger rules: `one_failed`"], startingRules["Trigger rules: `allow_failure`"][2:3]),
	"engine, When a task starts: all_failed":  slices.Concat(triggerRules["Trigger rules: `all_failed`"], startingRules["Trigger rules: `allow_failure`"][3:4]),
}

// another is a workflow that a task may run.
var another = "workflow \"v\" {\n" + task("x", "") + "}\n"

// child is a task that runs it.
func child(name, more string) string {
	return "task \"" + name + "\" {\n" + more + "\n run_workflow {\n  name = \"v\"\n }\n}\n"
}

// call is a task that makes a call.
func call(name, more string) string {
	return "task \"" + name + "\" {\n" + more + "\n http {\n  url = \"http://h\"\n }\n}\n"
}

// wait is a task that waits.
func wait(name, duration string) string {
	return "task \"" + name + "\" {\n wait {\n  duration = \"" + duration + "\"\n }\n}\n"
}

const foreignJob = "j.nomad.hcl\njob \"j\" {\n type = \"batch\"\n group \"g\" {\n  task \"t\" {\n   driver = \"raw_exec\"\n   config {\n    command = \"/bin/true\"\n   }\n  }\n }\n}\n"

var engineBodies = map[string][]check{
	"engine, Bodies: task, group, job, dispatch": {
		{play: play{flow: "max_parallel = 1\n" + task("a", "") + "task \"g\" {\n group {\n  task \"x\" {\n   driver = \"d\"\n  }\n }\n}\ntask \"d\" {\n dispatch {\n  job = \"j\"\n }\n}\ntask \"j\" {\n job {\n  source = \"j.nomad.hcl\"\n }\n}\n",
			files: []string{foreignJob}, see: "run starts peak a.wants g.wants d.wants j.wants"}, want: "succeeded 4 1 1 1 1 1", but: []string{"max_parallel = 1", "max_parallel = 2"}},
		{play: play{flow: task("a", ""), script: "a: exit 0 queues 5s", do: []string{"3s: ? a starts"}, see: "starts"}, want: "queued 0 | 1", but: []string{" queues 5s", ""}},
	},
	"engine, Bodies: run_workflow": {
		{play: play{flow: "max_parallel = 1\n" + child("a", "") + task("b", ""), also: another, see: "a.wants b.wants a.child starts peak"}, want: "0 1 c1.1 2 1", but: []string{"max_parallel = 1\n", ""}},
		{play: play{flow: child("a", "count = 200"), also: another, see: "run starts peak a.wants"}, want: "succeeded 200 128 0", but: []string{"200", "100"}},
		{play: play{flow: child("a", ""), also: another, script: "a: exit 0 in 9s", do: []string{"2s: pause", "3s: ? run a.held", "4s: resume", "5s: ? run a.held"}, see: "a.child"},
			want: "paused true | running false | c1.1", but: []string{"2s: pause", "2s: ? run"}},
	},
	"engine, Bodies: http": {
		{play: play{flow: "max_parallel = 1\n" + call("a", "") + task("b", ""), see: "a.wants starts peak a.body"}, want: `1 2 2 {"method":"GET","timeout":30000000000,"url":"http://h"}`, but: []string{"http {", "dispatch {", "url =", "job ="}},
	},
	"engine, Bodies: approval": {
		{play: play{flow: "max_parallel = 1\n" + approval("a", "") + task("b", ""), do: []string{"5s: approve a", "6s: reject a"}, see: "a a.wants starts b.began took refused"}, but: []string{"5s: approve", "5s: reject"},
			want: "succeeded 0 1 0s 5s task a is decided (approved by ann); reject is for approvals that are waiting"},
		{play: play{flow: approval("a", "timeout = \"5s\""), see: "a a.reason took"}, want: "failed nobody decided within 5s 5s", but: []string{"5s", "6s"}},
		{play: play{flow: approval("a", "timeout = \"5s\"\non_timeout = \"approve\""), see: "a took"}, want: "succeeded 5s", but: []string{"\"approve\"", "\"reject\""}},
	},
	"engine, Bodies: wait": {
		{play: play{flow: "max_parallel = 1\n" + wait("a", "5s") + task("b", ""), see: "a a.wants starts b.began took"}, want: "succeeded 0 1 0s 5s", but: []string{"5s", "6s"}},
	},
	"engine, Bodies: join": {
		{play: play{flow: "max_parallel = 1\n" + task("b", "") + task("c", "") + "task \"a\" {\n depends_on = [task.b]\n}\n", see: "a a.wants a.tries starts a.ended"}, want: "succeeded 0  2 1s", but: []string{"[task.b]", "[task.c]"}},
	},
}

var enginePolicies = map[string][]check{
	"engine, Retry by policy: it succeeded":                                           retryRules["Retry order: success"],
	"engine, Retry by policy: Cairn cancelled it":                                     retryRules["Retry order: cancel"],
	"engine, Retry by policy: its worker was lost, or it had to leave it":             retryRules["Retry order: lost; interrupted because its worker was drained, or it was preempted"],
	"engine, Retry by policy: somebody outside interrupted it":                        retryRules["Retry order: interrupted by somebody who stopped its job"],
	"engine, Retry by policy: it exited with a code that on_exit_codes does not hold": retryRules["Retry order: `on_exit_codes`"],
	"engine, Retry by policy: `retry.when` is false, null or an error": append(slices.Clone(retryRules["Retry order: `when`"]), check{
		play: play{flow: tried("max_attempts = 3\nwhen = attempt.number == 1 ? null : true", ""), script: "a: exit 1", see: "a.tries a.reason"}, but: []string{"null", "true"},
		want: "failed exit code 1: retry.when: w.hcl:10: `retry.when` of task a is null where a value is needed.",
	}),
	"engine, Retry by policy: it was the last of max_attempts":          retryRules["Retry order: `max_attempts`"],
	"engine, Retry by policy: the backoff would end after the deadline": retryRules["Retry order: `deadline`"],
	"engine, Retry by policy: its body was refused, or an approval rejected": {
		{play: play{flow: tried("max_attempts = 3", ""), script: "a: invalid, exit 0", see: "a a.tries"}, want: "failed error", but: []string{"invalid", "error"}},
		{play: play{flow: approval("a", ""), do: []string{"5s: reject a"}, see: "run a a.tries"}, want: "failed failed failed", but: []string{"reject", "approve"}},
		{play: play{flow: "defaults {\n retry {\n  max_attempts = 3\n }\n}\n" + approval("a", ""), do: []string{"5s: reject a"}, see: "run a a.tries"}, want: "failed failed failed", but: []string{"reject", "approve"}},
	},
	"engine, Retry by policy: anything else": append(slices.Clone(retryRules["Retry order: delay"]),
		check{play: play{flow: tried("max_attempts = 6", "timeout = \"5s\"\noutput \"x\" {}"), script: "a: exit 1 x=1, signal 9, oom, error, hang, exit 0 x=1", see: "a a.tries"},
			want: "succeeded failed,failed,failed,error,timed_out,succeeded", but: []string{"= 6", "= 5"}},
		check{play: play{flow: child("a", "retry {\n max_attempts = 2\n}"), also: another, script: "a: failed, exit 0", see: "a a.tries a.child"}, want: "succeeded failed,succeeded c2.1", but: []string{"= 2", "= 1"}}),
}
