// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// tried is a task a with a retry policy without chance in it.
func tried(policy, more string) string {
	return task("a", "retry {\n jitter = 0\n"+policy+"\n}\n"+more)
}

var retryRules = map[string][]check{
	"Retry order: success": {
		{play: play{flow: tried("max_attempts = 3\nwhen = true", ""), script: "a: exit 0", see: "a a.tries"}, want: "succeeded succeeded", but: []string{"exit 0", "exit 1"}},
	},
	"Retry order: cancel": {
		{play: play{flow: tried("max_attempts = 3", ""), script: "a: hang", do: []string{"5s: cancel_task a"}, see: "a a.tries"}, want: "cancelled cancelled", but: []string{"hang", "exit 1"}},
		{play: play{flow: tried("max_attempts = 3", ""), script: "a: hang", do: []string{"5s: stop"}, see: "a a.tries took"}, want: "cancelled cancelled 5s", but: []string{"hang", "exit 1"}},
	},
	"Retry order: lost; interrupted because its worker was drained, or it was preempted": {
		{play: play{flow: tried("max_lost = 2", ""), script: "a: lost, lost, exit 0", see: "a a.tries took"}, want: "succeeded lost,lost,succeeded 33s", but: []string{"= 2", "= 1"}},
		{play: play{flow: tried("max_lost = 2", ""), script: "a: evicted, lost, exit 0", see: "a a.tries"}, want: "succeeded interrupted,lost,succeeded", but: []string{"= 2", "= 1"}},
		{play: play{flow: tried("max_attempts = 2", ""), script: "a: lost, exit 1, exit 0", see: "a a.tries"}, want: "succeeded lost,failed,succeeded", but: []string{"lost,", "exit 1,"}},
		{play: play{flow: tried("max_attempts = 2\nwhen = false\non_exit_codes = [7]", ""), script: "a: lost, exit 0", see: "a a.tries"}, want: "succeeded lost,succeeded", but: []string{"lost,", "oom,"}},
	},
	"Retry order: interrupted by somebody who stopped its job": {
		{play: play{flow: tried("max_attempts = 3\nwhen = true", ""), script: "a: interrupted, exit 0", see: "a a.tries a.reason"},
			want: "failed interrupted interrupted: somebody stopped it: interrupted", but: []string{"interrupted", "error"}},
	},
	"Retry order: `on_exit_codes`": {
		{play: play{flow: tried("max_attempts = 3\non_exit_codes = [7]", ""), script: "a: exit 7, exit 8, exit 0", see: "a a.tries a.reason"},
			want: "failed failed,failed exit code 8: on_exit_codes does not hold 8", but: []string{"exit 8", "exit 7"}},
		{play: play{flow: tried("max_attempts = 4\non_exit_codes = [7]", ""), script: "a: signal 9, oom, error, exit 0", see: "a a.tries"},
			want: "succeeded failed,failed,error,succeeded", but: []string{"signal 9", "exit 9"}},
		{play: play{flow: tried("max_attempts = 4\non_exit_codes = [7]", "timeout = \"3s\""), script: "a: hang, exit 0", see: "a a.tries"},
			want: "succeeded timed_out,succeeded", but: []string{"hang", "exit 9"}},
	},
	"Retry order: `when`": {
		{play: play{flow: tried("max_attempts = 3\nwhen = attempt.number < 2", ""), script: "a: exit 1", see: "a a.tries a.reason"},
			want: "failed failed,failed exit code 1: retry.when is false", but: []string{"< 2", "< 9"}},
		{play: play{flow: tried("max_attempts = 3\nwhen = tobool(attempt.message)", ""), script: "a: error", see: "a a.tries a.reason"},
			want: "failed error error: retry.when: w.hcl:10: `retry.when` of task a: Invalid value for \"v\" parameter of tobool: cannot convert \"error\" to bool; only the strings \"true\" or \"false\" are allowed.", but: []string{"tobool(attempt.message)", "attempt.message != \"\""}},
		{play: play{flow: tried("max_attempts = 3\non_exit_codes = [7]\nwhen = false", ""), script: "a: exit 1", see: "a.reason"},
			want: "exit code 1: on_exit_codes does not hold 1", but: []string{"[7]", "[1]"}},
		{play: play{flow: tried("when = false", ""), script: "a: exit 1", see: "a.reason"},
			want: "exit code 1: retry.when is false", but: []string{"when = false", "when = true"}},
	},
	"Retry order: `max_attempts`": {
		{play: play{flow: tried("max_attempts = 2", ""), script: "a: exit 1, error, exit 0", see: "a a.tries a.reason"}, want: "failed failed,error error", but: []string{"= 2", "= 3"}},
		{play: play{flow: tried("max_attempts = 2", "timeout = \"3s\""), script: "a: hang, hang, exit 0", see: "a a.tries"}, want: "failed timed_out,timed_out", but: []string{"= 2", "= 3"}},
	},
	"Retry order: `deadline`": {
		{play: play{flow: tried("max_attempts = 9\ndelay = \"4s\"\nbackoff = \"constant\"", "deadline = \"9s\""), script: "a: exit 1", see: "a a.tries a.ended a.reason"},
			want: "failed failed,failed 6s the next try would be after the deadline of 9s: exit code 1", but: []string{"\"9s\"", "\"11s\""}},
	},
	"Retry order: delay": {
		{play: play{flow: tried("max_attempts = 5\ndelay = \"1s\"", ""), script: "a: exit 1 in 0s", see: "took"}, want: "15s", but: []string{"jitter = 0", "jitter = 0\nbackoff = \"constant\""}},
		{play: play{flow: tried("max_attempts = 5\ndelay = \"1s\"\nmax_delay = \"3s\"", ""), script: "a: exit 1 in 0s", see: "took"}, want: "9s", but: []string{"\"3s\"", "\"4s\""}},
		{play: play{flow: task("a", "retry {\n max_attempts = 2\n delay = \"4s\"\n max_delay = \"4s\"\n jitter = 0.5\n}"), luck: 0.5, script: "a: exit 1 in 0s", see: "took"}, want: "5s", but: []string{"jitter = 0.5", "jitter = 0"}},
	},
	"Retry order: not retried": {
		{play: play{flow: task("p", "output \"n\" {\n type = number\n}") + echo("a", "jsonencode(1 / task.p.output.n)", "retry {\n max_attempts = 3\n}"), script: "p: exit 0 n=0", see: "a a.tries a.ended"},
			want: "failed  1s", but: []string{"n=0", "n=1"}},
		{play: play{flow: tried("max_attempts = 3", ""), script: "a: invalid", see: "a a.tries"}, want: "failed error", but: []string{"invalid", "error"}},
		{play: play{flow: task("p", "output \"n\" {}") + task("a", "when = tobool(task.p.output.n)\nretry {\n max_attempts = 3\n}"), script: "p: exit 0 n=x", see: "a a.tries a.ended"},
			want: "failed  1s", but: []string{"n=x", "n=true"}},
	},
	"Retry order: missing output": {
		{play: play{flow: tried("max_attempts = 3", "output \"n\" {}"), script: "a: exit 0, exit 0 n=1", see: "a a.attempts"},
			want: "succeeded 1.1 failed code=0 n1 0s-1s (output n was not written, and it has no default), 1.2 succeeded code=0 n2 11s-12s ()", but: []string{"exit 0,", "exit 0 n=2,"}},
		{play: play{flow: tried("max_attempts = 2", "output \"n\" {\n type = number\n}"), script: "a: exit 0 n=x", see: "a a.tries"},
			want: "failed failed,failed", but: []string{"n=x", "n=1"}},
	},
	"Retry order: every attempt": {
		{play: play{flow: tried("max_attempts = 5\ndelay = \"2s\"", "timeout = \"3s\""), script: "a: exit 3, hang, lost, signal 9, exit 0", see: "a.attempts"},
			want: "1.1 failed code=3 n1 0s-1s (exit code 3), 1.2 timed_out code=- n2 3s-6s (timeout of 3s), 1.3 lost code=- n3 10s-11s (lost), " +
				"1.4 failed code=- n4 13s-14s (signal 9), 1.5 succeeded code=0 n5 22s-23s ()", but: []string{"exit 3", "exit 4"}},
	},
}
