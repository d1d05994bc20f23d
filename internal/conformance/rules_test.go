// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// partsOfRules are the checks of the rules that a run follows.
var partsOfRules = []map[string][]check{
	triggerRules, startingRules, fanOutRules, retryRules, endingRules, verbRules, nullRules,
	runStatusRules, taskStatusRules, verdictRules,
	engineRunStatuses, engineTaskStatuses, engineVerdicts, engineStarts, engineBodies, enginePolicies,
	engineEndings, engineVerbs, engineResets,
}

// ab are two tasks that nothing waits for; onAB is what a task below them writes.
var ab = task("a", "") + task("b", "")

const onAB = "depends_on = [task.a, task.b]\n"

// ruled is a task t below a and b with a trigger rule.
func ruled(rule string) string { return ab + task("t", onAB+"trigger_rule = \""+rule+"\"") }

var triggerRules = map[string][]check{
	"Trigger rules: `all_success`": {
		{play: play{flow: ab + task("t", onAB), see: "t t.began"},
			want: "succeeded 1s", but: []string{onAB, onAB + "trigger_rule = \"all_failed\"\n"}},
		{play: play{flow: ruled("all_success"), script: "a: exit 1; b: exit 0 in 9s", see: "t t.ended t.reason"},
			want: "omitted 1s a failed", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: ab + task("t", onAB), script: "a: exit 1", see: "t"},
			want: "omitted", but: []string{onAB, onAB + "trigger_rule = \"all_done\"\n"}},
	},
	"Trigger rules: `none_failed`": {
		{play: play{flow: task("a", "when = false\nwhen_false = \"skip_branch\"") + task("b", "") + task("t", onAB+"trigger_rule = \"none_failed\""), see: "t"},
			want: "succeeded", but: []string{"none_failed", "all_success"}},
		{play: play{flow: ruled("none_failed"), script: "a: exit 1; b: exit 0 in 9s", see: "t t.ended"},
			want: "omitted 1s", but: []string{"none_failed", "all_done"}},
	},
	"Trigger rules: `all_done`": {
		{play: play{flow: ruled("all_done"), script: "a: exit 1; b: exit 0 in 9s", see: "t t.began"},
			want: "succeeded 9s", but: []string{"all_done", "all_success"}},
	},
	"Trigger rules: `one_success`": {
		{play: play{flow: ruled("one_success"), script: "b: exit 0 in 9s", see: "t t.began"},
			want: "succeeded 1s", but: []string{"one_success", "all_success"}},
		{play: play{flow: ruled("one_success"), script: "a: exit 1; b: exit 1", see: "t"},
			want: "omitted", but: []string{"b: exit 1", "b: exit 0"}},
		{play: play{flow: task("a", "when = false") + task("b", "when = false") + task("t", onAB+"trigger_rule = \"one_success\""), see: "t"},
			want: "skipped", but: []string{"one_success", "all_success"}},
	},
	"Trigger rules: `one_failed`": {
		{play: play{flow: ruled("one_failed"), script: "a: exit 1; b: exit 0 in 9s", see: "t t.began"},
			want: "succeeded 1s", but: []string{"one_failed", "all_done"}},
		{play: play{flow: ruled("one_failed"), see: "t"}, want: "skipped", but: []string{"one_failed", "one_success"}},
	},
	"Trigger rules: `all_failed`": {
		{play: play{flow: ruled("all_failed"), script: "a: exit 1; b: exit 1 in 9s", see: "t t.began"},
			want: "succeeded 9s", but: []string{"all_failed", "one_failed"}},
		{play: play{flow: ruled("all_failed"), script: "a: exit 0; b: exit 1 in 9s", see: "t t.ended"},
			want: "skipped 1s", but: []string{"all_failed", "one_failed"}},
		{play: play{flow: ab + task("c", "depends_on = [task.a]") + task("d", "depends_on = [task.c]") +
			task("t", "depends_on = [task.c, task.d]\ntrigger_rule = \"all_failed\""), script: "a: exit 1", see: "c d t"},
			want: "omitted omitted omitted", but: []string{"task.c, task.d", "task.a, task.c"}},
	},
}
