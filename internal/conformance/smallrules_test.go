// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

var smallRules = map[string][]check{
	"Small rules: no tasks": {
		{with: compiled(flowIn("w", "# nothing")), without: compiled(oneTask), want: "invalid: No tasks: workflow w has no tasks. Write at least one task block."},
	},
	"Small rules: no dependencies": {
		refused(task("a", "trigger_rule = \"none_failed\""), "Rule without dependencies: task a has the trigger_rule none_failed but depends on nothing. Write depends_on, or leave the rule out.", "none_failed", "all_done"),
		refused(task("a", "trigger_rule = \"none_failed\""), "Rule without dependencies: task a has the trigger_rule none_failed but depends on nothing. Write depends_on, or leave the rule out.", "none_failed", "all_success"),
		refused(writes("a", "")+echo("b", "task.a.output.x", "trigger_rule = \"one_failed\""),
			"Rule without dependencies: task b has the trigger_rule one_failed but no depends_on, and this rule looks at depends_on only: references just wait. Write depends_on.",
			"trigger_rule", "depends_on = [task.a]\ntrigger_rule"),
	},
	"Small rules: `recovers`": {
		refused(task("a", "")+task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\"\nrecovers = true"),
			"Nothing to recover: recovers = true belongs to a task that handles a failure: one with trigger_rule one_failed or all_failed. The rule of task b is all_done.", "all_done", "all_failed"),
	},
	"Small rules: `when_false`": {
		refused(task("a", "when_false = \"skip\""), "Missing condition: when_false says what happens when `when` is false, and task a has no `when`.", "when_false", "when = true\nwhen_false"),
	},
	"Small rules: `min_success`, `max_parallel`": {
		refused(task("a", "min_success = 1"), "Not a fan-out: min_success is about the instances of a task, and task a has neither for_each nor count. Write one of them, or leave min_success out.", "min_success", "count = 1\nmin_success"),
		refused(task("a", "max_parallel = 1"), "Not a fan-out: max_parallel is about the instances of a task, and task a has neither for_each nor count. Write one of them, or leave max_parallel out.", "max_parallel", "count = 1\nmax_parallel"),
	},
	"Small rules: `max_delay`": {
		refused(retrying("delay = \"10s\"\nmax_delay = \"9s\""), "Delays that contradict: `max_delay` of task a is 9s, less than its delay of 10s. Make it at least as long, or leave it out.", "9s", "10s"),
	},
	"Small rules: circles": {
		refused(task("a", "depends_on = [task.b]")+task("b", "depends_on = [task.a]"),
			"Tasks in a circle: These tasks wait for each other: a -> b -> a. Take one depends_on or one reference out.", "depends_on = [task.b]", ""),
		refused(locals("x = local.y", "y = local.x")+task("a", ""), "Locals in a circle: local.x -> local.y -> local.x: each needs the next before it can be computed. Take one reference out.", "= local.y", "= 1"),
		refused(param("default = param.q")+"param \"q\" {\n default = param.p\n}\n",
			"Params in a circle: param.p -> param.q -> param.p: the default of each needs the next. Take one reference out.", "= param.q", "= 1"),
	},
	"Small rules: task that reads itself": {
		refused(out("")+echo("b", "task.b.status", ""), "Waits for itself: task b refers to itself. Its outputs exist only after its end; use attempt.number or each.* inside of it.", "task.b", "task.a"),
		refused(task("a", "depends_on = [task.a]"), "Waits for itself: task a cannot depend on itself.", "depends_on = [task.a]", ""),
	},
	"Small rules: normal task that reads a `finally` task": {
		refused(echo("a", "task.f.status", "")+finally("f", ""), "A finally task: task a refers to f, which runs after everything else because it is a finally task.", "task.f.status", "1"),
		refused(task("a", "depends_on = [task.f]")+finally("f", ""), "A finally task: task a cannot wait for f, which runs after everything else because it is a finally task.", "depends_on = [task.f]", ""),
	},
	"Small rules: instance that is not there": {
		refused(writes("a", "for_each = toset([\"k\"])")+echo("b", "task.a[\"l\"].output.x", ""), "Unknown instance: task a has no instance \"l\". Its keys are k.", "\"l\"", "\"k\""),
		refused(writes("a", "count = 2")+echo("b", "task.a[2].output.x", ""), "Unknown instance: task a has count = 2: its instances are numbered from 0 to 1.", "[2]", "[1]"),
		// Keys that are not constant are the run's to tell.
		sees(writes("a", "for_each = toset([run.workflow])")+echo("b", "task.a[\"l\"].output.x", ""), "a: exit 0 x=1", "b b.reason", "failed w.hcl:14: the body of task b: The given key does not identify an element in this collection value.", "\"l\"", "\"w\""),
	},
	"Small rules: comparison": {
		warned(task("a", "when = run.id == 5"), "Never equal: Text is compared with a number, and values of different types are never equal. Convert one of them, as in tostring(…) or tonumber(…).", "5", "\"5\""),
		warned(task("a", "")+task("b", "when = task.a.status == \"suceeded\""),
			"Never equal: task.a.status is never \"suceeded\": it is pending, queued, waiting, starting, running, succeeded, failed, skipped, omitted or cancelled. Did you mean `succeeded`?", "suceeded", "succeeded"),
		sees(task("a", "when = \"5\" == 5"), "", "a", "skipped", "\"5\"", "5"),
	},
	"Small rules: in `try` and `can`": {
		sees(echo("a", "try(tonumber(\"x\"), 7), can(tonumber(\"x\"))", ""), "", "a.args", "7 false", "\"x\"", "\"1\""),
		refused(echo("a", "try(param.nope, 7)", ""), "Unknown param: There is no param nope. To have it, write param \"nope\" { … } in the workflow.", "param.nope", "tonumber(\"x\")"),
		refused(echo("a", "can(task.nope.status)", ""), "Unknown task: There is no task nope in workflow w. There is only a.", "task.nope.status", "tonumber(\"x\")"),
	},
	"Small rules: once per task": {
		sees(task("b", "")+echo("a", "attempt.number, task.b.status", always(2)), "b: exit 0 in 4s; a: exit 1, exit 0", "a.args a.tries", "2 succeeded failed,succeeded", "attempt.number", "1"),
		refused(task("a", "count = 2\nwhen = each.index == 0"),
			"Not known here: `when` of task a cannot refer to each.index. each.* belongs to one instance, and this is evaluated once for the whole task.", "each.index", "0"),
		sees(task("a", "count = 2\ntimeout = each.index == 0 ? \"1s\" : \"2s\""), "a: hang", "a[0].tries took", "timed_out 2s", "\"2s\"", "\"3s\""),
		sees(task("a", "timeout = attempt.number == 1 ? \"2s\" : \"3s\"\n"+always(2)), "a: hang", "took", "6s", "attempt.number", "1"),
	},
	"Small rules: environment": {
		{with: onThisMachine(execution(environment, "", ""), "eu"), without: onThisMachine(execution(environment, "", ""), ""),
			want: "CAIRN_ATTEMPT=1 CAIRN_FENCE=7 CAIRN_INSTANCE_KEY=eu CAIRN_OUTPUT=PATH CAIRN_RUN_ID=2ai35luh222222222222 CAIRN_TASK=a CAIRN_WORKFLOW=w"},
		{with: onThisMachine(execution(environment, "", ""), ""), without: onThisMachine(execution(environment, "", ""), "eu"),
			want: "CAIRN_ATTEMPT=1 CAIRN_FENCE=7 CAIRN_INSTANCE_KEY= CAIRN_OUTPUT=PATH CAIRN_RUN_ID=2ai35luh222222222222 CAIRN_TASK=a CAIRN_WORKFLOW=w"},
		sees(task("a", always(3)), "a: exit 1", "a.fences", "2", "= 3", "= 2"),
	},
}
