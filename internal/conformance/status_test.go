// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// in is a check of what is seen in a state, and that another state shows something else.
func in(states []state, name, other, see, want string) check {
	return check{with: seeing(states, name, see), without: seeing(states, other, see), want: want}
}

var runStatusRules = map[string][]check{
	"of a run: `queued`":    {in(runStates, "queued", "running", "run a starts", "queued pending 0")},
	"of a run: `running`":   {in(runStates, "running", "paused", "run a starts", "running running 2")},
	"of a run: `pausing`":   {in(runStates, "pausing", "running", "run a", "pausing running")},
	"of a run: `paused`":    {in(runStates, "paused", "running", "run b c starts", "paused succeeded pending 1")},
	"of a run: `stopping`":  {in(runStates, "stopping", "cancelled", "run a a.kill", "stopping running stop"), {play: play{flow: withFinally, script: "f: exit 0 in 5s", do: []string{"500ms: stop", "3s: ? run b f"}, see: "run"}, want: "stopping cancelled running | cancelled", but: []string{"500ms: stop", "500ms: terminate"}}},
	"of a run: `succeeded`": {in(runStates, "succeeded", "failed", "run took reason", "succeeded 1s ")},
	"of a run: `failed`":    {in(runStates, "failed", "succeeded", "run took reason", "failed 1s task a failed: exit code 1")},
	"of a run: `cancelled`": {in(runStates, "cancelled", "succeeded", "run took reason", "cancelled 500ms stopped by ann")},
	"of a run: `skipped`":   {in(runStates, "skipped", "queued", "run took starts", "skipped 1s 0")},
}

var taskStatusRules = map[string][]check{
	"of tasks and instances: `pending`":   {in(goingStates, "pending", "running", "a a[0] starts", "pending pending 2"), {play: play{flow: task("a", "count = 2\nmax_parallel = 1"), do: []string{"500ms: ? a a[0] a[1]"}, see: "a[1]"}, want: "running running pending | succeeded", but: []string{"max_parallel = 1", "max_parallel = 2"}}},
	"of tasks and instances: `queued`":    {in(goingStates, "queued", "running", "a a[0] a.wants a.flying", "queued queued 1 none")},
	"of tasks and instances: `waiting`":   {in(goingStates, "waiting", "running", "a a[0] a.tries a.flying", "waiting waiting failed none"), {play: play{flow: approval("a", ""), do: []string{"2s: ? a", "3s: approve a"}, see: "a"}, want: "waiting | succeeded", but: []string{"3s: approve", "3s: reject"}}, {play: play{flow: "task \"a\" {\n wait {\n duration = \"5s\"\n }\n}\n", do: []string{"2s: ? a"}, see: "a took"}, want: "waiting | succeeded 5s", but: []string{"5s", "1s"}}},
	"of tasks and instances: `starting`":  {in(goingStates, "starting", "running", "a a[0] a.flying", "starting starting 1@nowhere")},
	"of tasks and instances: `running`":   {in(goingStates, "running", "starting", "a a[0] a.flying", "running running 1@n2")},
	"of tasks and instances: `succeeded`": {in(goingStates, "succeeded", "running", "a a[0] a.ended a.tries", "succeeded succeeded 1s succeeded")},
	"of tasks and instances: `failed`":    {in(goingStates, "failed", "running", "a a[0] a.ended a.tries", "failed failed 1s failed")},
	"of tasks and instances: `skipped`":   {in(goingStates, "skipped", "running", "a a[0] a.ended a.tries a.reason", "skipped skipped 0s  when is false")},
	"of tasks and instances: `omitted`":   {in(goingStates, "omitted", "running", "a a[0] a.ended a.tries a.reason", "omitted omitted 1s  z failed")},
	"of tasks and instances: `cancelled`": {in(goingStates, "cancelled", "running", "a a[0] a.ended a.tries a.reason", "cancelled cancelled 500ms cancelled cancelled by hand"), {play: play{flow: "on_failure = \"fail_fast\"\n" + ab, script: "a: exit 1; b: hang", see: "b b.reason"}, want: "cancelled on_failure = \"fail_fast\"", but: []string{"exit 1", "exit 0"}}},
}

// verdictOf is the verdict of an attempt that goes as scripted, with what is said about it.
func verdictOf(more, script, want, other string) check {
	return check{play: play{flow: task("a", more), script: "a: " + script, see: "a.tries a.message"}, want: want, but: []string{script, other}}
}

var verdictRules = map[string][]check{
	"of attempts: `succeeded`": {
		verdictOf("output \"x\" {}", "exit 0 x=1", "succeeded ", "exit 0"),
		verdictOf("", "exit 0", "succeeded ", "exit 1"),
	},
	"of attempts: `failed`": {
		verdictOf("", "exit 3", "failed exit code 3", "exit 0"),
		verdictOf("", "signal 9", "failed signal 9", "interrupted"),
		verdictOf("", "oom", "failed oom", "lost"),
		verdictOf("output \"x\" {}", "exit 0", "failed output x was not written, and it has no default", "exit 0 x=1"),
		verdictOf("output \"x\" {\n type = number\n}", "exit 0 x=one", "failed output x: w.hcl:8: output x of task a must be a number: \"one\" is not", "exit 0 x=1"),
	},
	"of attempts: `timed_out`": {
		verdictOf("timeout = \"5s\"", "hang", "timed_out timeout of 5s", "exit 1"),
		verdictOf("deadline = \"5s\"", "hang", "timed_out deadline of 5s", "exit 1"),
	},
	"of attempts: `error`": {
		verdictOf("", "error", "error error", "exit 1"),
		verdictOf("", "invalid", "error invalid", "exit 1"),
		verdictOf("", "impossible", "error no worker could ever run it (10m0s): no worker fits", "exit 0"),
		verdictOf("start_timeout = \"5s\"", "no_room", "error start_timeout of 5s: no worker fits", "exit 0"),
	},
	"of attempts: `lost`":        {verdictOf("retry {\n max_lost = 0\n}", "lost", "lost lost", "exit 1")},
	"of attempts: `interrupted`": {verdictOf("", "interrupted", "interrupted interrupted", "exit 1")},
	"of attempts: `cancelled`": {
		{play: play{flow: task("a", ""), script: "a: hang", do: []string{"5s: stop"}, see: "a.tries a.message"}, want: "cancelled run stopped", but: []string{"hang", "exit 0"}},
		{play: play{flow: task("a", ""), script: "a: hang dies 2s", do: []string{"5s: cancel_task a", "6s: ? a a.tries"}, see: "a.tries took"}, want: "running  | cancelled 7s", but: []string{"hang", "exit 0 in 6s"}},
	},
}
