// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// handles is what a handler of task a writes.
const handles = "depends_on = [task.a]\ntrigger_rule = \"one_failed\"\n"

// final is a finally task with arguments to look at.
func final(name, args, more string) string { return "finally" + echo(name, args, more)[len("task"):] }

// then is a chain from b: b takes five seconds in most plays, and c needs it.
var then = task("b", "") + task("c", "depends_on = [task.b]")

var endingRules = map[string][]check{
	"How a run ends: stopped or terminated": {
		{play: play{flow: ab, script: "a: exit 1; b: hang", do: []string{"2s: stop"}, see: "run reason took"}, want: "cancelled stopped by ann 2s", but: []string{"2s: stop", "2s: cancel_task b"}},
		{play: play{flow: ab + finally("f", ""), script: "a: hang; f: exit 1", do: []string{"2s: stop"}, see: "run f"}, want: "cancelled failed", but: []string{"2s: stop", "2s: cancel_task a"}},
		{play: play{flow: "timeout = \"5s\"\n" + task("a", ""), script: "a: hang dies 4s", do: []string{"6s: terminate"}, see: "run reason took"},
			want: "cancelled terminated by ann 9s", but: []string{"6s: terminate", "6s: ? run"}},
	},
	"How a run ends: run timeout": {
		{play: play{flow: "timeout = \"5s\"\n" + task("a", ""), script: "a: hang", see: "run reason a took"}, want: "failed timeout cancelled 5s", but: []string{"\"5s\"", "\"9s\""}},
		{play: play{flow: "timeout = \"5s\"\n" + task("a", "allow_failure = true") + finally("f", ""), script: "a: hang; f: exit 1", see: "run reason"},
			want: "failed timeout", but: []string{"timeout = \"5s\"\n", ""}},
	},
	"How a run ends: a `finally` task failed without `allow_failure`": {
		{play: play{flow: task("a", "") + finally("f", ""), script: "f: exit 1", see: "run reason"}, want: "failed finally task f failed: exit code 1", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: task("a", "") + finally("f", "allow_failure = true"), script: "f: exit 1", see: "run f"}, want: "succeeded failed", but: []string{"true", "false"}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "a: exit 2; f: exit 1", see: "reason"}, want: "finally task f failed: exit code 1", but: []string{"f: exit 1", "f: exit 0"}},
	},
	"How a run ends: a task failed, or was cancelled by hand, and is neither `allow_failure` nor recovered": {
		{play: play{flow: ab, script: "a: exit 3", see: "run reason"}, want: "failed task a failed: exit code 3", but: []string{"exit 3", "exit 0"}},
		{play: play{flow: ab, script: "a: hang", do: []string{"5s: cancel_task a"}, see: "run reason"}, want: "failed task a cancelled: cancelled by hand", but: []string{"hang", "exit 0"}},
		{play: play{flow: task("a", "allow_failure = true"), script: "a: exit 3", see: "run a"}, want: "succeeded failed", but: []string{"true", "false"}},
		{play: play{flow: task("a", "allow_failure = true"), script: "a: hang", do: []string{"5s: cancel_task a"}, see: "run a"}, want: "succeeded cancelled", but: []string{"true", "false"}},
		{play: play{flow: task("a", "") + task("h", handles+"recovers = true"), script: "a: exit 3", see: "run"}, want: "succeeded", but: []string{"recovers = true", ""}},
	},
	"How a run ends: a run output cannot be evaluated": {
		{play: play{flow: task("a", "output \"n\" {\n type = number\n}") + "output \"o\" {\n value = 1 / task.a.output.n\n}\noutput \"p\" {\n value = task.a.output.n\n}", script: "a: exit 0 n=0", see: "run out.o out.p reason"},
			want: "failed null 0 output o: w.hcl:12: output o cannot be written as JSON: cannot serialize infinity as JSON", but: []string{"n=0", "n=1"}},
	},
	"How a run ends: otherwise": {
		{play: play{flow: task("a", "when = false") + task("b", "depends_on = [task.a]"), see: "run reason a b"}, want: "succeeded  skipped succeeded", but: []string{"when = false", "allow_failure = false"}},
		{play: play{flow: ab, script: "a: exit 1", do: []string{"5s: retry"}, see: "run"}, want: "failed", but: []string{"exit 1", "exit 1, exit 0"}},
	},
	"How a run ends: recovered": {
		{play: play{flow: task("a", "") + task("h", "depends_on = [task.a]\ntrigger_rule = \"all_failed\"\nrecovers = true"), script: "a: exit 3", see: "run h"}, want: "succeeded succeeded", but: []string{"= true", "= false"}},
		{play: play{flow: task("a", "") + task("h", handles+"recovers = true"), script: "a: exit 3; h: exit 1", see: "run"}, want: "failed", but: []string{"h: exit 1", "h: exit 0"}},
		// A handler of somebody else, who is not directly below.
		{play: play{flow: ab + task("h", "depends_on = [task.b]\ntrigger_rule = \"one_failed\"\nrecovers = true"), script: "a: exit 1; b: exit 1", see: "run reason"},
			want: "failed task a failed: exit code 1", but: []string{"[task.b]", "[task.a, task.b]", "one_failed", "all_failed"}},
		// The handler had started for a before b failed.
		{play: play{flow: ab + task("h", onAB+"trigger_rule = \"one_failed\"\nrecovers = true"), script: "a: exit 1; b: exit 1 in 5s", see: "h run reason"},
			want: "succeeded failed task b failed: exit code 1", but: []string{"one_failed", "all_failed"}},
	},
	"How a run ends: `continue`": {
		{play: play{flow: task("a", "") + then + task("d", onAB), script: "a: exit 1; b: exit 0 in 5s", see: "run b c d"}, want: "failed succeeded succeeded omitted", but: []string{"task \"a\"", "on_failure = \"drain\"\ntask \"a\""}},
	},
	"How a run ends: `drain`": {
		{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + then, script: "a: exit 1; b: exit 0 in 5s", see: "run b c c.reason c.ended"}, want: "failed succeeded omitted on_failure = \"drain\" 1s", but: []string{"drain", "continue"}},
		{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + task("b", "retry {\n max_attempts = 2\n}"), script: "a: exit 1; b: exit 1 in 5s, exit 0", see: "b b.tries"}, want: "succeeded failed,succeeded", but: []string{"drain", "fail_fast"}},
	},
	"How a run ends: `fail_fast`": {
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + then, script: "a: exit 1; b: exit 0 in 5s", see: "run b b.reason c took"}, want: "failed cancelled on_failure = \"fail_fast\" omitted 1s", but: []string{"fail_fast", "drain"}},
	},
	"How a run ends: handlers": {
		{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + task("h", handles) + task("i", "depends_on = [task.a]\ntrigger_rule = \"all_failed\"") + task("j", "depends_on = [task.a]\ntrigger_rule = \"all_done\"") + task("k", "depends_on = [task.h]"), script: "a: exit 1", see: "h i j k"},
			want: "succeeded succeeded succeeded succeeded", but: []string{"a: exit 1", "a: exit 0"}},
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + task("h", handles) + task("b", "") + task("c", "depends_on = [task.b]\ntrigger_rule = \"all_done\""), script: "a: exit 1; b: exit 0 in 1500ms; h: exit 0 in 5s", see: "h b c"},
			want: "succeeded cancelled omitted", but: []string{"fail_fast", "continue"}},
		{play: play{flow: task("a", "") + task("h", handles), script: "a: exit 1", see: "h run"}, want: "succeeded failed", but: []string{"a: exit 1", "a: exit 0"}},
	},
	"How a run ends: final": {
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + then + task("h", handles+"recovers = true"), script: "a: exit 1; b: exit 0 in 5s; h: exit 0 in 2s", see: "run b c"},
			want: "succeeded succeeded succeeded", but: []string{"recovers = true", ""}},
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + then + task("h", handles+"recovers = true"), script: "a: exit 1; b: exit 0 in 5s; h: exit 1 in 2s", see: "run b c took"},
			want: "failed cancelled omitted 3s", but: []string{"h: exit 1", "h: exit 0"}},
	},
	"How a run ends: never begun": {
		{play: play{flow: "on_failure = \"drain\"\n" + task("a", "") + then, script: "a: exit 1; b: exit 0 in 5s", see: "c c.reason"}, want: "omitted on_failure = \"drain\"", but: []string{"drain", "continue"}},
		{play: play{flow: "on_failure = \"fail_fast\"\n" + task("a", "") + then, script: "a: exit 1; b: exit 0 in 5s", see: "c c.reason"}, want: "omitted on_failure = \"fail_fast\"", but: []string{"fail_fast", "continue"}},
		{play: play{flow: then, script: "b: hang", do: []string{"2s: stop"}, see: "c c.reason"}, want: "cancelled run stopped", but: []string{"2s: stop", "2s: cancel_task b"}},
		{play: play{flow: then, script: "b: hang", do: []string{"2s: terminate"}, see: "c c.reason"}, want: "cancelled run terminated", but: []string{"2s: terminate", "2s: stop"}},
		{play: play{flow: "timeout = \"5s\"\n" + then, script: "b: hang", see: "c c.reason"}, want: "cancelled run timed out", but: []string{"\"5s\"", "\"5s\"\non_failure = \"drain\"", "b: hang", "b: exit 1"}},
	},
	"How a run ends: `finally` tasks": {
		{play: play{flow: task("a", "") + finally("f", ""), script: "a: exit 1", see: "f"}, want: "succeeded", but: []string{"finally", "task", "\"f\"", "\"g\""}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "a: hang", do: []string{"2s: stop"}, see: "run f f.began"}, want: "cancelled succeeded 2s", but: []string{"stop", "terminate"}},
		{play: play{flow: "timeout = \"5s\"\n" + task("a", "") + finally("f", ""), script: "a: hang; f: exit 0 in 9s", see: "run reason f took"}, want: "failed timeout succeeded 14s", but: []string{"\"5s\"", "\"6s\""}},
		{play: play{flow: "timeout = \"5s\"\n" + task("a", "") + finally("f", ""), script: "f: exit 0 in 9s", see: "run f"}, want: "succeeded succeeded", but: []string{"f: exit 0", "a: hang; f: exit 0"}},
		{play: play{flow: "max_parallel = 1\n" + task("a", "") + finally("f", "") + finally("g", ""), see: "took peak"}, want: "2s 2", but: []string{"finally \"g\"", "task \"g\""}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "f: exit 0 in 5s", do: []string{"2s: stop"}, see: "run f took"}, want: "cancelled succeeded 6s", but: []string{"stop", "terminate"}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "f: hang", see: "f f.tries took"}, want: "failed timed_out 1h0m1s", but: []string{"finally", "task", "f: hang", "f: exit 1 in 1h0m0s"}},
		{play: play{flow: task("a", "") + finally("f", "timeout = \"9s\""), script: "f: hang", see: "f f.tries took"}, want: "failed timed_out 10s", but: []string{"9s", "8s"}},
	},
	"How a run ends: what `finally` reads": {
		{play: play{flow: gives("a", "") + task("b", "") + final("f", "task.a.output.x, task.b.status, run.status, jsonencode(run.failed_tasks)", ""), script: "a: exit 0 x=hi; b: exit 1", see: "f.args"},
			want: "hi failed failed [\"b\"]", but: []string{"b: exit 1", "b: exit 0"}},
		{play: play{flow: task("a", "") + finally("f", "depends_on = [task.a]"), see: "run"},
			want: "invalid: Not a finally task: task f is a finally task and a is not: finally begins after all other tasks anyway, and reads them without depends_on. Take it out.", but: []string{"depends_on = [task.a]", ""}},
		{play: play{flow: task("a", "") + finally("g", "") + finally("f", "depends_on = [task.g]"), see: "f.began"}, want: "2s", but: []string{"depends_on = [task.g]", ""}},
	},
	"How a run ends: no `finally`": {
		{play: play{flow: task("a", "") + finally("f", ""), begins: "5s", do: []string{"1s: stop"}, see: "run a f starts"}, want: "cancelled cancelled cancelled 0", but: []string{"1s: stop", "5500ms: stop"}},
		{play: play{flow: task("a", "") + finally("f", ""), begins: "5s", do: []string{"1s: skip_run"}, see: "run f starts"}, want: "skipped omitted 0", but: []string{"1s: skip_run", "6s: skip_run"}},
	},
	"How a run ends: paused": {
		{play: play{flow: "timeout = \"9s\"\n" + then, script: "c: hang", do: []string{"500ms: pause", "101s: resume"}, see: "run reason took"}, want: "failed timeout 1m49s", but: []string{"101s", "51s"}},
		{play: play{flow: tried("max_attempts = 9\ndelay = \"4s\"\nbackoff = \"constant\"", "deadline = \"9s\""), script: "a: exit 1", do: []string{"500ms: pause", "100s: resume"}, see: "a.tries took"},
			want: "failed,failed,failed 1m46s", but: []string{"pause", "resume"}},
		{play: play{flow: "task \"w\" {\n wait {\n  duration = \"9s\"\n }\n}\n" + task("b", "depends_on = [task.w]"), do: []string{"1s: pause", "15s: ? run w w.ended b", "20s: resume"}, see: "b.began"},
			want: "paused succeeded 9s pending | 20s", but: []string{"1s: pause", "1s: ? run"}},
		{play: play{flow: approval("p", ""), do: []string{"1s: pause", "2s: ? run p", "3s: approve p"}, see: "run p took"}, want: "paused waiting | succeeded succeeded 3s", but: []string{"3s: approve", "3s: reject"}},
	},
}

// approval is a task that waits for somebody.
func approval(name, more string) string {
	return "task \"" + name + "\" {\n approval {\n" + more + "\n }\n}\n"
}
