// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// skipping is a task that is skipped with its branch.
func skipping(name, more string) string {
	return task(name, more+"when = false\nwhen_false = \"skip_branch\"\n")
}

// gives is a task that gives an output x and takes it from its script.
func gives(name, more string) string { return task(name, "output \"x\" {}\n"+more) }

var startingRules = map[string][]check{
	"Trigger rules: what counts": {
		{play: play{flow: gives("a", "") + echo("t", "task.a.output.x", ""), script: "a: exit 1", see: "t t.reason"},
			want: "omitted a failed", but: []string{"exit 1", "exit 0 x=1"}},
		{play: play{flow: gives("a", "") + echo("t", "task.a.status", "trigger_rule = \"none_failed\""), script: "a: exit 1", see: "t t.reason"},
			want: "omitted a failed", but: []string{"exit 1", "exit 0 x=1"}},
		{play: play{flow: task("a", "") + echo("t", "task.a.status", "trigger_rule = \"all_done\""), script: "a: exit 1 in 9s", see: "t.began t.args"},
			want: "9s failed", but: []string{"task.a.status", "\"failed\""}},
		{play: play{flow: ab + echo("t", "task.a.status", "depends_on = [task.b]\ntrigger_rule = \"one_failed\""), script: "a: exit 1", see: "t"},
			want: "skipped", but: []string{"[task.b]", "[task.a]"}},
		{play: play{flow: ab + echo("t", "task.a.status", "trigger_rule = \"one_failed\""), see: "t"}, but: []string{"\"one_failed\"", "\"all_done\""},
			want: "invalid: Rule without dependencies: task t has the trigger_rule one_failed but no depends_on, and this rule looks at depends_on only: references just wait. Write depends_on."},
	},
	"Trigger rules: a reference waits": {
		{play: play{flow: ab + echo("t", "task.a.status", "depends_on = [task.b]\ntrigger_rule = \"one_success\""), script: "a: exit 1 in 9s", see: "t.began t.args"},
			want: "9s failed", but: []string{"task.a.status", "\"failed\""}},
	},
	"Trigger rules: `when`": {
		{play: play{flow: task("a", "") + task("t", "depends_on = [task.a]\ntrigger_rule = \"all_done\"\nwhen = task.a.status == \"failed\""), see: "t t.reason t.ended"},
			want: "skipped when is false 1s", but: []string{"\"failed\"", "\"succeeded\""}},
		{play: play{flow: task("a", "") + task("t", "depends_on = [task.a]\nwhen = false"), script: "a: exit 1", see: "t"},
			want: "omitted", but: []string{"exit 1", "exit 0"}},
	},
	"Trigger rules: `skip_branch`": {
		{play: play{flow: skipping("a", "") + task("b", "") + task("c", onAB) + task("d", "depends_on = [task.c]"), script: "b: exit 0 in 9s", see: "c d c.ended d.ended"},
			want: "skipped skipped 0s 0s", but: []string{"skip_branch", "skip"}},
		{play: play{flow: skipping("a", "") + task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\"") + task("c", "depends_on = [task.b]"), see: "b c"},
			want: "succeeded succeeded", but: []string{"trigger_rule = \"all_done\"", ""}},
		{play: play{flow: skipping("a", "") + task("b", "depends_on = [task.a]\ntrigger_rule = \"one_success\"") + task("c", "depends_on = [task.b]"), see: "b c c.reason"},
			want: "skipped succeeded ", but: []string{"\"one_success\"", "\"all_success\""}},
		{play: play{flow: task("d", "") + skipping("a", "depends_on = [task.d]\ntrigger_rule = \"all_done\"\n") + task("t", "depends_on = [task.a, task.d]"), script: "d: exit 1", see: "a t"},
			want: "skipped omitted", but: []string{"exit 1", "exit 0"}},
	},
	"Trigger rules: `allow_failure`": {
		{play: play{flow: task("a", "allow_failure = true") + task("b", "") + task("t", onAB), script: "a: exit 1", see: "t"},
			want: "succeeded", but: []string{"allow_failure = true", ""}},
		{play: play{flow: task("a", "allow_failure = true") + task("b", "") + task("t", onAB+"trigger_rule = \"none_failed\""), script: "a: exit 1", see: "t"},
			want: "succeeded", but: []string{"allow_failure = true", ""}},
		{play: play{flow: task("a", "allow_failure = true") + task("b", "") + echo("t", "task.a.status", onAB+"trigger_rule = \"one_failed\""), script: "a: exit 1", see: "t t.args"},
			want: "succeeded failed", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: task("a", "allow_failure = true") + task("b", "") + task("t", onAB+"trigger_rule = \"all_failed\""), script: "a: exit 1; b: exit 1", see: "t"},
			want: "succeeded", but: []string{"all_failed", "none_failed"}},
		{play: play{flow: task("a", "allow_failure = true") + task("t", "depends_on = [task.a]\ntrigger_rule = \"one_success\""), script: "a: exit 1", see: "t"},
			want: "omitted", but: []string{"\"one_success\"", "\"all_success\""}},
	},
	"Trigger rules: broken `when`": {
		{play: play{flow: gives("a", "") + task("t", "when = tobool(task.a.output.x)"), script: "a: exit 0 x=maybe", see: "t t.tries t.reason"},
			want: "failed  w.hcl:15: `when` of task t: Invalid value for \"v\" parameter of tobool: cannot convert \"maybe\" to bool; only the strings \"true\" or \"false\" are allowed.", but: []string{"x=maybe", "x=true"}},
	},
	"Trigger rules: the view": {
		{play: play{flow: task("a", "") + echo("t", "task.a.status", "depends_on = [task.a]\ntrigger_rule = \"all_done\"\nretry {\n max_attempts = 2\n}"), script: "a: exit 1; t: exit 1, exit 0",
			do: []string{"1500ms: ? t.args t.flying", "5s: takeover", "12200ms: takeover", "12500ms: ? t.args t.flying"}, see: "t"},
			want: "failed 1@n2 | failed 2@n3 | succeeded", but: []string{"a: exit 1", "a: exit 0"}},
	},
	"Trigger rules: a predecessor that runs": {
		{play: play{flow: ab + echo("t", "\"hi\"", onAB+"trigger_rule = \"one_success\""), script: "a: exit 0 in 9s", see: "t.began"},
			want: "1s", but: []string{"\"hi\"", "task.a.status"}},
		{play: play{flow: ab + echo("t", "\"hi\"", onAB+"trigger_rule = \"one_failed\""), script: "a: exit 0 in 9s; b: exit 1", see: "t.began"},
			want: "1s", but: []string{"\"hi\"", "task.a.status"}},
	},
	"Trigger rules: below an omitted task": {
		{play: play{flow: task("a", "") + task("b", "depends_on = [task.a]") + task("c", "depends_on = [task.b]") + task("d", "depends_on = [task.b]\ntrigger_rule = \"one_failed\""),
			script: "a: exit 1", see: "b c d"}, want: "omitted omitted skipped", but: []string{"depends_on = [task.b]\ntrigger_rule", "depends_on = [task.a]\ntrigger_rule"}},
	},
}
