// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "fmt"

var taskTable = map[string][]check{
	"What Cairn adds: `depends_on`": {
		{play: play{flow: task("a", "") + task("b", "depends_on = [task.a]"), see: "b.began"}, want: "1s", but: []string{"depends_on = [task.a]", ""}},
		{play: play{flow: task("a", "output \"x\" {}") + echo("b", "task.a.output.x", ""), script: "a: exit 0 x=hi", see: "b.began b.args"},
			want: "1s hi", but: []string{"task.a.output.x", "\"hi\""}},
	},
	"What Cairn adds: `trigger_rule`": {
		{play: play{flow: task("a", "") + task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\""), script: "a: exit 1", see: "b"},
			want: "succeeded", but: []string{"trigger_rule = \"all_done\"", ""}},
	},
	"What Cairn adds: `recovers`": {
		{play: play{flow: task("a", "") + task("b", "depends_on = [task.a]\ntrigger_rule = \"one_failed\"\nrecovers = true"), script: "a: exit 1", see: "run a b"},
			want: "succeeded failed succeeded", but: []string{"recovers = true", "recovers = false"}},
	},
	"What Cairn adds: `when`": {
		{play: play{flow: task("a", "when = false") + task("b", "depends_on = [task.a]"), see: "a b run"},
			want: "skipped succeeded succeeded", but: []string{"when = false", "when = true"}},
		{play: play{flow: task("a", "") + task("b", "depends_on = [task.a]\ntrigger_rule = \"all_done\"\nwhen = task.a.status == \"failed\""), script: "a: exit 1", see: "b"},
			want: "succeeded", but: []string{"exit 1", "exit 0"}},
	},
	"What Cairn adds: `when_false`": {
		{play: play{flow: task("a", "when = false\nwhen_false = \"skip_branch\"") + task("b", "depends_on = [task.a]"), see: "b"},
			want: "skipped", but: []string{"skip_branch", "skip"}},
	},
	"What Cairn adds: `for_each`": {
		{play: play{flow: echo("a", "each.key, each.value", "for_each = { x = \"1\", y = \"2\" }"), see: "a[0].args a[1].args a.size"},
			want: "x 1 y 2 2", but: []string{"y = \"2\"", "z = \"2\""}},
		{play: play{flow: echo("a", "each.key", "for_each = toset([\"y\", \"x\"])"), see: "a[0].args a[1].args"}, want: "x y", but: []string{"\"x\"", "\"z\""}},
	},
	"What Cairn adds: `key`": {
		{play: play{flow: echo("a", "each.key", "for_each = [{ n = \"y\" }, { n = \"x\" }]\nkey = each.value.n"), see: "a[0].args a[1].args"},
			want: "y x", but: []string{"each.value.n", "each.index"}},
	},
	"What Cairn adds: `count`": {
		{play: play{flow: echo("a", "each.key", "count = 3"), see: "a.size a[2].args"}, want: "3 2", but: []string{"count = 3", "count = 4"}},
	},
	"What Cairn adds: `max_parallel`": {
		{play: play{flow: task("a", "count = 4\nmax_parallel = 2"), see: "took"}, want: "2s", but: []string{"max_parallel = 2", "max_parallel = 4"}},
	},
	"What Cairn adds: `min_success`": {
		{play: play{flow: task("a", "count = 5\nmin_success = \"70%\""), script: "a[0]: exit 1; a: exit 0", see: "a run"}, want: "succeeded succeeded", but: []string{"70%", "90%"}},
		{play: play{flow: task("a", "count = 4\nmin_success = 3"), script: "a[0]: exit 1; a: exit 0", see: "a"}, want: "succeeded", but: []string{"min_success = 3", "min_success = 4"}},
	},
	"What Cairn adds: `retry { }`": {
		{play: play{flow: task("a", "retry {\n max_attempts = 2\n}"), script: "a: exit 1, exit 0", see: "a a.tries"}, want: "succeeded failed,succeeded", but: []string{"= 2", "= 1"}},
	},
	"What Cairn adds: `timeout`": {
		{play: play{flow: task("a", "timeout = \"5s\""), script: "a: hang", see: "a a.tries took"}, want: "failed timed_out 5s", but: []string{"5s", "6s"}},
		{play: play{flow: task("a", "") + finally("f", ""), script: "f: hang", see: "f took"}, want: "failed 1h0m1s", but: []string{"\"f\"", "\"g\""}},
	},
	"What Cairn adds: `start_timeout`": {
		{play: play{flow: task("a", "start_timeout = \"5s\""), script: "a: no_room", see: "a a.tries took"}, want: "failed error 5s", but: []string{"5s", "6s"}},
		{play: play{flow: task("a", ""), script: "a: impossible", see: "a a.tries took"}, want: "failed error 10m0s", but: []string{"impossible", "no_room"}},
	},
	"What Cairn adds: `on_worker_loss { }`": {
		{with: lossOf("on_worker_loss {\n mode = \"immediate\"\n}"), without: lossOf(""), want: "immediate 5m0s"},
		{with: lossOf("on_worker_loss {\n stop_after = \"9s\"\n}"), without: lossOf(""), want: "wait_for_stop 9s"},
	},
	"What Cairn adds: `deadline`": {
		{play: play{flow: task("a", "deadline = \"5s\"\nretry {\n max_attempts = 9\n delay = \"1s\"\n backoff = \"constant\"\n jitter = 0\n}"), script: "a: exit 1", see: "a a.tries a.ended"},
			want: "failed failed,failed,failed 5s", but: []string{"5s", "50s"}},
	},
	"What Cairn adds: `allow_failure`": {
		{play: play{flow: task("a", "allow_failure = true") + task("b", "depends_on = [task.a]"), script: "a: exit 1", see: "run a b"},
			want: "succeeded failed succeeded", but: []string{"true", "false"}},
	},
	"What Cairn adds: `output \"name\" { }`": {
		{play: play{flow: task("a", "output \"x\" {\n type = number\n}"), script: "a: exit 0 x=4", see: "a a.out.x"}, want: "succeeded 4", but: []string{"x=4", "y=4"}},
	},
}

// lossOf is what a task's policy says of a lost worker.
func lossOf(more string) func() string {
	return defined(task("a", more), func(p play) string {
		def, _, _, problem := p.compile()
		if problem != "" {
			return problem
		}
		loss := def.Tasks[0].Policy.OnWorkerLoss
		return fmt.Sprint(loss.Mode, " ", loss.StopAfter)
	})
}

// retrying is a task with a retry policy.
func retrying(policy string) string { return task("a", "retry {\n"+policy+"\n}") }

var retryTable = map[string][]check{
	"retry: `max_attempts`": {
		{play: play{flow: retrying("max_attempts = 3"), script: "a: exit 1", see: "a a.tries"}, want: "failed failed,failed,failed", but: []string{"3", "2"}},
		{play: play{flow: retrying(""), script: "a: exit 1", see: "a.tries"}, want: "failed", but: []string{"retry {", "retry {\n max_attempts = 2"}},
	},
	"retry: `delay`": {
		{play: play{flow: retrying("max_attempts = 2\njitter = 0"), script: "a: exit 1, exit 0", see: "took"}, want: "12s", but: []string{"jitter = 0", "jitter = 0\ndelay = \"20s\""}},
	},
	"retry: `backoff`": {
		{play: play{flow: retrying("max_attempts = 4\njitter = 0\ndelay = \"1s\""), script: "a: exit 1", see: "took"}, want: "11s", but: []string{"jitter = 0", "jitter = 0\nbackoff = \"constant\""}},
	},
	"retry: `max_delay`": {
		{play: play{flow: retrying("max_attempts = 4\njitter = 0\ndelay = \"1s\"\nmax_delay = \"2s\""), script: "a: exit 1", see: "took"}, want: "9s", but: []string{"\nmax_delay = \"2s\"", ""}},
		{play: play{flow: retrying("max_attempts = 3\njitter = 0\ndelay = \"4m\""), script: "a: exit 1", see: "took"}, want: "9m3s", but: []string{"jitter = 0", "jitter = 0\nmax_delay = \"8m\""}},
	},
	"retry: `on_exit_codes`": {
		{play: play{flow: retrying("max_attempts = 2\non_exit_codes = [7]"), script: "a: exit 1, exit 0", see: "a a.tries"}, want: "failed failed", but: []string{"[7]", "[1, 7]"}},
	},
	"retry: `when`": {
		{play: play{flow: retrying("max_attempts = 3\nwhen = attempt.exit_code != 2"), script: "a: exit 1, exit 2, exit 0", see: "a a.tries"}, want: "failed failed,failed", but: []string{"!= 2", "!= 3"}},
		{play: play{flow: retrying("max_attempts = 3\nwhen = attempt.duration < 5"), script: "a: exit 1, exit 1 in 6s, exit 0", see: "a.tries"}, want: "failed,failed", but: []string{"< 5", "< 7"}},
	},
	"retry: `jitter`": {
		{play: play{flow: retrying("max_attempts = 2\ndelay = \"10s\"\njitter = 0.5"), luck: 1, script: "a: exit 1, exit 0", see: "took"}, want: "17s", but: []string{"0.5", "0.2"}},
		{play: play{flow: retrying("max_attempts = 2\ndelay = \"10s\""), luck: 1, script: "a: exit 1, exit 0", see: "took"}, want: "13s", but: []string{"max_attempts", "jitter = 0\nmax_attempts"}},
	},
	"retry: `avoid_nodes`": {
		{play: play{flow: retrying("max_attempts = 3\navoid_nodes = true"), script: "a: exit 1, exit 1, exit 0", see: "a.avoids"}, want: "n1,n2", but: []string{"true", "false"}},
	},
	"retry: `max_lost`": {
		{play: play{flow: retrying("max_lost = 1"), script: "a: lost, lost, exit 0", see: "a a.tries"}, want: "failed lost,lost", but: []string{"max_lost = 1", ""}},
	},
}

var outputsTable = map[string][]check{
	"outputs: `type`": {
		{play: play{flow: task("a", "output \"x\" {}"), script: "a: exit 0 x=5", see: "a.out.x"}, want: `"5"`, but: []string{"{}", "{\n type = number\n}"}},
		{play: play{flow: task("a", "output \"x\" {\n type = number\n}"), script: "a: exit 0 x=five", see: "a a.tries"}, want: "failed failed", but: []string{"number", "string"}},
	},
	"outputs: `default`": {
		{play: play{flow: task("a", "output \"x\" {\n default = \"d\"\n}") + echo("b", "task.a.output.x", ""), see: "a b.args"}, want: "succeeded d", but: []string{"\"d\"", "\"e\""}},
		{play: play{flow: task("a", "output \"x\" {}"), see: "a a.reason"}, want: "failed output x was not written, and it has no default", but: []string{"{}", "{\n default = \"d\"\n}"}},
	},
	"outputs: `sensitive`": {
		{play: play{flow: task("a", "output \"x\" {\n sensitive = true\n}"), script: "a: exit 0 x=5", see: "a.out.x"}, want: "(sensitive)", but: []string{"true", "false"}},
	},
	"outputs: `from`": {
		{play: play{flow: task("a", "output \"x\" {\n from = \"stdout\"\n}"), script: "a: exit 0 stdout one two", see: "a.out.x"}, want: `"two"`, but: []string{"two", "three"}},
	},
	"outputs: `pattern`": {
		{play: play{flow: task("a", "output \"x\" {\n from = \"stdout\"\n pattern = \"n=(\\\\d+)\"\n}"), script: "a: exit 0 stdout n=1 n=2 end", see: "a.out.x"}, want: `"2"`, but: []string{"(\\\\d+)", "\\\\d+"}},
	},
}
