// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// branch is a chain of tasks below one that is skipped with all that depends on it.
var branch = task("a", "when = false\nwhen_false = \"skip_branch\"") + task("b", "depends_on = [task.a]") + task("c", "depends_on = [task.b]\ntrigger_rule = \"none_failed\"") + task("d", "depends_on = [task.c]")

// listed is a fan-out over a list.
const listed = "for_each = [{ n = \"y\" }, { n = \"x\" }]\nkey = each.value.n"

// always is a retry policy of so many tries, a second after each other.
func always(tries int) string {
	return fmt.Sprintf("retry {\n max_attempts = %d\n delay = \"1s\"\n backoff = \"constant\"\n jitter = 0\n}", tries)
}

var taskTable = map[string][]check{
	"task: `depends_on`": {
		sees(task("a", "")+task("b", "depends_on = [task.a]"), "", "b.began", "1s", "depends_on = [task.a]", ""),
		sees(writes("a", "")+echo("b", "task.a.output.x", ""), "a: exit 0 x=hi", "b.began b.args", "1s hi", "task.a.output.x", "\"hi\""),
		sees(task("a", "")+task("b", "timeout = task.a.status == \"failed\" ? \"1s\" : \"2s\""), "b: hang", "b.began", "1s", "task.a.status", "\"x\""),
		refused(task("a", "")+task("b", "depends_on = [\"a\"]"), "Not a task: Each element of depends_on is a task, written without quotes: task.extract. Did you mean `task.a`?", "\"a\"]", "task.a]"),
		refused(task("a", "")+task("b", "depends_on = run.id == \"x\" ? [task.a] : []"), "Wrong value: `depends_on` must be a list of tasks such as [task.extract].", "run.id == \"x\" ? [task.a] : []", "[task.a]"),
	},
	"task: `trigger_rule`": {
		sees(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\""), "a: exit 1", "b", "succeeded", "trigger_rule = \"all_done\"", ""),
		sees(task("a", "")+task("b", "depends_on = [task.a]"), "a: exit 1", "b", "omitted", "depends_on", "trigger_rule = \"all_done\"\ndepends_on"),
		refused(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = run.id"),
			"Not a constant: `trigger_rule` must be a constant: it is needed before anything runs, so it cannot refer to run.id.", "run.id", "\"all_done\""),
	},
	"task: `recovers`": {
		sees(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"one_failed\"\nrecovers = true"), "a: exit 1", "run a b", "succeeded failed succeeded", "recovers = true", "recovers = false"),
		sees(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"all_failed\"\nrecovers = true"), "a: exit 1", "run a b", "succeeded failed succeeded", "\nrecovers = true", ""),
		sees(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"one_failed\"\nrecovers = true"), "a: exit 1; b: exit 1", "run", "failed", "b: exit 1", "b: exit 0"),
	},
	"task: `when`": {
		sees(task("a", "when = false")+task("b", "depends_on = [task.a]"), "", "a b run", "skipped succeeded succeeded", "when = false", "when = true"),
		sees(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\"\nwhen = task.a.status == \"failed\""), "a: exit 1", "b", "succeeded", "exit 1", "exit 0"),
		sees(task("a", ""), "", "a", "succeeded", "/echo\"\n  }\n", "/echo\"\n  }\nwhen = false\n"),
	},
	"task: `when_false`": {
		sees(branch, "", "a b c d", "skipped skipped succeeded succeeded", "\nwhen_false = \"skip_branch\"", ""),
		sees(branch, "", "a b c d", "skipped skipped succeeded succeeded", "none_failed", "all_success"),
		sees(strings.Replace(branch, "none_failed", "all_done", 1), "", "a b c d", "skipped skipped succeeded succeeded", "all_done", "all_success"),
		sees(branch, "", "b", "skipped", "skip_branch", "skip"),
	},
	"task: `for_each`": {
		sees(echo("a", "each.key, each.value", "for_each = { x = \"1\", y = \"2\" }"), "", "a[0].args a[1].args a.size", "x 1 y 2 2", "y = \"2\"", "z = \"2\""),
		sees(echo("a", "each.key", "for_each = toset([\"y\", \"x\"])"), "", "a[0].args a[1].args", "x y", "\"x\"", "\"z\""),
		sees(echo("a", "each.key", listed), "", "a[0].args a[1].args", "y x", "\"x\"", "\"z\""),
		refused(task("a", "for_each = [\"x\"]"), "Wrong value: `for_each` of task a is a list, whose elements have no names: write `key = <expression over each.value>` beside it, or toset(…) around it.",
			"[\"x\"]", "toset([\"x\"])"),
		refused(task("a", "for_each = { x = 1 }\ncount = 2"), "Two ways to fan out: task a has both for_each and count. Keep one: for_each gives instances names, count gives them numbers.", "\ncount = 2", ""),
	},
	"task: `key`": {
		sees(echo("a", "each.key", listed), "", "a[0].args a[1].args", "y x", "each.value.n", "each.index"),
		sees(echo("a", "jsonencode(each.key)", "for_each = [7]\nkey = each.value"), "", "a[0].args", `"7"`, "= each.value", "= each.index"),
		refused(task("a", "for_each = [7]\nkey = each.key"), "Not known here: `key` of task a cannot refer to each.key. The key is just being made: use each.value or each.index.", "each.key", "each.index"),
		refused(task("a", "for_each = [7]\nkey = [each.value]"), "Wrong value: `key` of task a must be text or a number, not a list.", "[each.value]", "each.value"),
	},
	"task: `count`": {
		sees(echo("a", "each.key", "count = 3"), "", "a.size a[2].args", "3 2", "count = 3", "count = 4"),
		refused(task("a", "count = \"x\""), "Wrong value: `count` of task a must be a whole number from 0 to 1000000, not text.", "\"x\"", "1"),
		refused(task("a", "count = -1"), "Wrong value: `count` of task a must be a whole number from 0 to 1000000.", "-1", "0"),
		notSettled("param \"n\" {\n type = number\n}\n"+task("a", "count = param.n"), []string{"n=-1"}, "Wrong value: `count` of task a must be a whole number from 0 to 1000000.", "n=-1", "n=1"),
	},
	"task: `max_parallel`": {
		sees(task("a", "count = 4\nmax_parallel = 2"), "", "took", "2s", "max_parallel = 2", "max_parallel = 4"),
		sees(task("a", "count = 40"), "", "took", "1s", "count = 40", "count = 40\nmax_parallel = 39"),
		sees(task("b", "")+task("a", "count = 4\nmax_parallel = task.b.status == \"succeeded\" ? 2 : 4"), "", "took", "3s", "\"succeeded\"", "\"failed\""),
	},
	"task: `min_success`": {
		sees(task("a", "count = 5\nmin_success = \"70%\""), "a[0]: exit 1; a: exit 0", "a run", "succeeded succeeded", "70%", "90%"),
		sees(task("a", "count = 5\nmin_success = \"81%\""), "a[0]: exit 1; a: exit 0", "a", "failed", "81%", "80%"),
		sees(task("a", "count = 4\nmin_success = 3"), "a[0]: exit 1; a: exit 0", "a", "succeeded", "min_success = 3", "min_success = 4"),
		sees(task("a", "count = 4"), "a[0]: exit 1; a: exit 0", "a", "failed", "count = 4", "count = 4\nmin_success = 3"),
	},
	"task: `timeout`": {
		sees(task("a", "timeout = \"5s\""), "a: hang", "a a.tries took", "failed timed_out 5s", "5s", "6s"),
		sees(task("a", "timeout = \"5s\"\nretry {\n max_attempts = 2\n jitter = 0\n}"), "a: hang", "a.tries took", "timed_out,timed_out 20s", "5s", "6s"),
		sees(task("a", "timeout = \"5s\"\nstart_timeout = \"20s\""), "a: no_room", "a.tries took", "error 20s", "no_room", "hang"),
		sees(task("a", "")+finally("f", ""), "f: hang", "f took", "failed 1h0m1s", "\"f\" {", "\"f\" {\ntimeout = \"2h\""),
		sees(task("a", ""), "a: hang", "run took", "running never", "task \"a\" {", "task \"a\" {\ntimeout = \"2h\""),
	},
	"task: `start_timeout`": {
		sees(task("a", "start_timeout = \"5s\""), "a: no_room", "a a.tries took", "failed error 5s", "5s", "6s"),
		sees(task("a", "start_timeout = \"5s\""), "a: exit 0 in 9s", "a", "succeeded", "exit 0 in 9s", "no_room"),
		sees(task("a", ""), "a: impossible", "a a.tries took", "failed error 10m0s", "impossible", "no_room"),
		sees(task("a", ""), "a: no_room", "a took", "starting never", "no_room", "impossible"),
	},
	"task: `deadline`": {
		sees(task("a", "deadline = \"5s\"\n"+always(9)), "a: exit 1", "a a.tries a.ended", "failed failed,failed,failed 5s", "5s", "50s"),
		sees(task("b", "")+task("a", "depends_on = [task.b]\ndeadline = \"5s\""), "b: exit 0 in 20s; a: hang", "a.tries took", "timed_out 25s", "\"5s\"", "\"6s\""),
		sees(task("a", ""), "a: hang", "took", "never", "task \"a\" {", "task \"a\" {\ndeadline = \"2h\""),
	},
	"task: `allow_failure`": {
		sees(task("a", "allow_failure = true")+task("b", "depends_on = [task.a]"), "a: exit 1", "run a b", "succeeded failed succeeded", "true", "false"),
		sees(task("a", ""), "a: exit 1", "run", "failed", "task \"a\" {", "task \"a\" {\nallow_failure = true"),
	},
	"task: `retry { }`": {
		sees(task("a", "retry {\n max_attempts = 2\n}"), "a: exit 1, exit 0", "a a.tries", "succeeded failed,succeeded", "= 2", "= 1"),
		sees(task("a", ""), "a: exit 1, exit 0", "a a.tries", "failed failed", "task \"a\" {", "task \"a\" {\nretry {\n max_attempts = 2\n}"),
	},
	"task: `on_worker_loss { }`": {
		{with: lossOf("on_worker_loss {\n mode = \"immediate\"\n}"), without: lossOf(""), want: "immediate 5m0s"},
		{with: lossOf("on_worker_loss {\n stop_after = \"9s\"\n}"), without: lossOf(""), want: "wait_for_stop 9s"},
	},
	"task: `output \"name\" { }`": {
		sees(task("a", "output \"x\" {\n type = number\n}\noutput \"y\" {}"), "a: exit 0 x=4 y=5", "a a.out.x a.out.y", `succeeded 4 "5"`, "x=4", "x=3"),
	},
}

// bodyKind tells the kind of the body that a task with this in it has.
func bodyKind(inside string) func() string {
	return taskDefined("task \"a\" {\n"+inside+"\n}\n", func(t workflow.Task) string { return string(t.BodyKind) })
}

// hasBody is the check that a block makes a body: with it a task has one, and without it is a join.
func hasBody(block, kind string) []check {
	return []check{{with: bodyKind(block), without: bodyKind("# nothing"), want: kind}}
}

var taskBodies = map[string][]check{
	"task: `group { }`":    hasBody("group {\n task \"t\" {\n  driver = \"raw_exec\"\n  config {\n   command = \"x\"\n  }\n }\n}", "group"),
	"task: `dispatch { }`": hasBody("dispatch {\n job = \"x\"\n}", "dispatch"),
	"task: `approval { }`": hasBody("approval {\n}", "approval"),
	"task: `wait { }`":     hasBody("wait {\n duration = \"1s\"\n}", "wait"),
	"task: `http { }`":     hasBody("http {\n url = \"http://example.com\"\n}", "http"),
	"task: `job { }`": {{
		with:    everyBody("", func(t workflow.Task) string { return onlyOf("job", t) }),
		without: everyBody("", func(t workflow.Task) string { return onlyOf("join", t) }), want: "job=job",
	}},
	"task: `run_workflow { }`": {{
		with:    everyBody("", func(t workflow.Task) string { return onlyOf("run_workflow", t) }),
		without: everyBody("", func(t workflow.Task) string { return onlyOf("join", t) }), want: "run_workflow=run_workflow",
	}},
}

func onlyOf(name string, t workflow.Task) string {
	if t.Name != name {
		return ""
	}
	return string(t.BodyKind)
}

// lossOf is what a task's policy says of a lost worker.
func lossOf(more string) func() string { return lossIn("", more) }

// lossIn is the same in a workflow with something above the task.
func lossIn(above, more string) func() string {
	return taskDefined(above+task("a", more), func(t workflow.Task) string {
		return fmt.Sprint(t.Policy.OnWorkerLoss.Mode, " ", t.Policy.OnWorkerLoss.StopAfter)
	})
}
