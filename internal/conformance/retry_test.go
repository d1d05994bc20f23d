// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// retrying is a task with a retry policy.
func retrying(policy string) string { return task("a", "retry {\n"+policy+"\n}") }

// onlyWhen is a task that is tried again when a condition over its attempt holds.
func onlyWhen(condition string) string {
	return retrying("max_attempts = 2\nwhen = " + condition)
}

var retryTable = map[string][]check{
	"retry: `max_attempts`": {
		sees(retrying("max_attempts = 3"), "a: exit 1", "a a.tries", "failed failed,failed,failed", "3", "2"),
		sees(retrying(""), "a: exit 1", "a.tries", "failed", "retry {", "retry {\n max_attempts = 2"),
		refused(retrying("max_attempts = 0"), "Wrong value: `retry.max_attempts` of task a must be a whole number from 1 to 100.", "0", "1"),
		refused(retrying("max_attempts = 101"), "Wrong value: `retry.max_attempts` of task a must be a whole number from 1 to 100.", "101", "100"),
	},
	"retry: `delay`": {
		sees(retrying("max_attempts = 2\njitter = 0"), "a: exit 1, exit 0", "took", "12s", "jitter = 0", "jitter = 0\ndelay = \"20s\""),
		sees(retrying("max_attempts = 2\njitter = 0\ndelay = \"30s\""), "a: exit 1, exit 0", "took", "32s", "30s", "31s"),
	},
	"retry: `backoff`": {
		sees(retrying("max_attempts = 4\njitter = 0\ndelay = \"1s\""), "a: exit 1", "took", "11s", "jitter = 0", "jitter = 0\nbackoff = \"constant\""),
		sees(retrying("max_attempts = 4\njitter = 0\ndelay = \"1s\"\nbackoff = \"constant\""), "a: exit 1", "took", "7s", "constant", "exponential"),
		refused(retrying("backoff = \"linear\""), "Wrong value: `retry.backoff` of task a must be \"constant\" or \"exponential\".", "linear", "constant"),
	},
	"retry: `max_delay`": {
		sees(retrying("max_attempts = 4\njitter = 0\ndelay = \"1s\"\nmax_delay = \"2s\""), "a: exit 1", "took", "9s", "\nmax_delay = \"2s\"", ""),
		sees(retrying("max_attempts = 3\njitter = 0\ndelay = \"4m\""), "a: exit 1", "took", "9m3s", "jitter = 0", "jitter = 0\nmax_delay = \"8m\""),
		sees(retrying("max_attempts = 3\njitter = 0\ndelay = \"6m\""), "a: exit 1", "took", "12m3s", "jitter = 0", "jitter = 0\nmax_delay = \"8m\""),
	},
	"retry: `jitter`": {
		{play: play{flow: retrying("max_attempts = 2\ndelay = \"10s\"\njitter = 0.5"), luck: 1, script: "a: exit 1, exit 0", see: "took"}, want: "17s", but: []string{"0.5", "0.2"}},
		{play: play{flow: retrying("max_attempts = 2\ndelay = \"10s\""), luck: 1, script: "a: exit 1, exit 0", see: "took"}, want: "13s", but: []string{"max_attempts", "jitter = 0\nmax_attempts"}},
		refused(retrying("jitter = 1.1"), "Wrong value: `retry.jitter` of task a must be a number from 0 to 1.", "1.1", "1"),
		refused(retrying("jitter = -0.1"), "Wrong value: `retry.jitter` of task a must be a number from 0 to 1.", "-0.1", "0"),
	},
	"retry: `on_exit_codes`": {
		sees(retrying("max_attempts = 2\non_exit_codes = [7]"), "a: exit 1, exit 0", "a a.tries", "failed failed", "[7]", "[1, 7]"),
		sees(retrying("max_attempts = 2\non_exit_codes = [7]"), "a: signal 9, exit 0", "a a.tries", "succeeded failed,succeeded", "signal 9", "exit 1"),
		sees(retrying("max_attempts = 2"), "a: exit 1, exit 0", "a a.tries", "succeeded failed,succeeded", "= 2", "= 2\non_exit_codes = [7]"),
	},
	"retry: `when`": {
		sees(retrying("max_attempts = 3\nwhen = attempt.exit_code != 2"), "a: exit 1, exit 2, exit 0", "a a.tries", "failed failed,failed", "!= 2", "!= 3"),
		sees(retrying("max_attempts = 3\nwhen = attempt.duration < 5"), "a: exit 1, exit 1 in 6s, exit 0", "a.tries", "failed,failed", "< 5", "< 7"),
		sees(retrying("max_attempts = 3\nwhen = attempt.number < 2"), "a: exit 1", "a.tries", "failed,failed", "< 2", "< 3"),
		sees(onlyWhen("attempt.signal == 9"), "a: signal 9, exit 0", "a.tries", "failed,succeeded", "signal 9,", "signal 15,"),
		sees(onlyWhen("attempt.oom"), "a: oom, exit 0", "a.tries", "failed,succeeded", "oom,", "signal 9,"),
		sees(onlyWhen("attempt.reason == \"timed_out\""), "a: timed_out, exit 0", "a.tries", "timed_out,succeeded", "a: timed_out", "a: exit 1"),
		sees(onlyWhen("attempt.message == \"error\""), "a: error, exit 0", "a.tries", "error,succeeded", "== \"error\"", "== \"x\""),
		sees(onlyWhen("attempt.node == \"n1\""), "a: exit 1, exit 0", "a.tries", "failed,succeeded", "n1", "n2"),
		sees(onlyWhen("attempt.exit_code == null"), "a: signal 9, exit 0", "a.tries", "failed,succeeded", "signal 9", "exit 1"),
		sees(retrying("max_attempts = 2"), "a: exit 1, exit 0", "a.tries", "failed,succeeded", "= 2", "= 2\nwhen = false"),
	},
	"retry: `avoid_nodes`": {
		sees(retrying("max_attempts = 3\navoid_nodes = true"), "a: exit 1, exit 1, exit 0", "a.avoids", "n1,n2", "true", "false"),
		sees(retrying("max_attempts = 3"), "a: exit 1, exit 1, exit 0", "a.avoids", "", "= 3", "= 3\navoid_nodes = true"),
	},
	"retry: `max_lost`": {
		sees(retrying("max_lost = 1"), "a: lost, lost, exit 0", "a a.tries", "failed lost,lost", "max_lost = 1", ""),
		sees(task("a", ""), "a: lost", "a a.tries", "failed lost,lost,lost,lost", "task \"a\" {", "task \"a\" {\nretry {\n max_lost = 2\n}"),
		sees(retrying("max_lost = 0"), "a: lost, exit 0", "a a.tries", "failed lost", "= 0", "= 1"),
		sees(retrying("max_attempts = 2\nmax_lost = 1"), "a: lost, exit 1, exit 0", "a a.tries", "succeeded lost,failed,succeeded", "= 2", "= 1"),
		refused(retrying("max_lost = 101"), "Wrong value: `retry.max_lost` of task a must be a whole number from 0 to 100.", "101", "100"),
	},
}

var workerLossTable = map[string][]check{
	"on_worker_loss: `mode`": {
		{with: lossOf("on_worker_loss {\n mode = \"immediate\"\n}"), without: lossOf("on_worker_loss {\n mode = \"wait_for_stop\"\n}"), want: "immediate 5m0s"},
		{with: lossOf("on_worker_loss {\n}"), without: lossOf("on_worker_loss {\n mode = \"immediate\"\n}"), want: "wait_for_stop 5m0s"},
		refused(task("a", "on_worker_loss {\n mode = \"wait\"\n}"), "Wrong value: `on_worker_loss.mode` of task a must be \"wait_for_stop\" or \"immediate\".", "\"wait\"", "\"wait_for_stop\""),
	},
	"on_worker_loss: `stop_after`": {
		{with: lossOf(""), without: lossOf("on_worker_loss {\n stop_after = \"6m\"\n}"), want: "wait_for_stop 5m0s"},
		{with: lossOf("on_worker_loss {\n stop_after = \"9s\"\n}"), without: lossOf(""), want: "wait_for_stop 9s"},
		refused(task("a", "on_worker_loss {\n stop_after = true\n}"), "Wrong value: `on_worker_loss.stop_after` of task a must be a duration such as \"90s\", \"5m\" or \"1h30m\", not true or false.", "true", "\"1s\""),
	},
}

// out is a task a with an output x that has this in it.
func out(inside string) string { return task("a", "output \"x\" {\n"+inside+"\n}") }

var outputsTable = map[string][]check{
	"outputs of a task: `type`": {
		sees(out(""), "a: exit 0 x=5", "a.out.x", `"5"`, "{\n\n}", "{\n type = number\n}"),
		sees(out("type = number"), "a: exit 0 x=five", "a a.tries", "failed failed", "number", "string"),
		sees(out("type = list(number)"), "a: exit 0 x=[5]", "a.out.x", "[5]", "list(number)", "list(string)"),
	},
	"outputs of a task: `default`": {
		sees(out("default = \"d\"")+echo("b", "task.a.output.x", ""), "", "a b.args", "succeeded d", "\"d\"", "\"e\""),
		sees(out("default = \"d\"")+echo("b", "task.a.output.x", "trigger_rule = \"all_done\"\ndepends_on = [task.a]"), "a: exit 1", "a b.args", "failed d", "\"d\"", "\"e\""),
		sees(task("a", "when = false\noutput \"x\" {\n default = \"d\"\n}")+echo("b", "task.a.output.x", ""), "", "a b.args", "skipped d", "\"d\"", "\"e\""),
		sees(out(""), "", "a a.reason", "failed output x was not written, and it has no default", "{\n\n}", "{\n default = \"d\"\n}"),
		refused(out("default = run.id"), "Not known here: `default` of output x cannot refer to run.id. It is needed before any run exists.", "run.id", "1"),
		refused(out("type = number\ndefault = \"d\""), "Wrong value: `default` of output x must be a number: a number is required.", "\"d\"", "\"1\""),
	},
	"outputs of a task: `sensitive`": {
		sees(out("sensitive = true"), "a: exit 0 x=5", "a.out.x", "(sensitive)", "true", "false"),
		sees(out(""), "a: exit 0 x=5", "a.out.x", `"5"`, "{\n\n}", "{\n sensitive = true\n}"),
		sees(out("type = number\nsensitive = true"), "a: exit 0 x=hunter2", "a.message", "output x: w.hcl:8: output x of task a must be a number: what was written is something else", "sensitive = true", ""),
	},
	"outputs of a task: `from`": {
		sees(out("from = \"stdout\""), "a: exit 0 stdout one two", "a.out.x", `"two"`, "two", "three"),
		sees(out("from = \"file\""), "a: exit 0 x=file", "a.out.x", `"file"`, "=file", "=other"),
		sees(out("default = \"d\"")+echo("b", "task.a.output.x", ""), "a: exit 0 x=file", "b.args", "file", "default", "from = \"stdout\"\ndefault"),
		refused("task \"a\" {\n group {\n  task \"t\" {\n   driver = \"raw_exec\"\n   config {\n    command = \"x\"\n   }\n  }\n }\n output \"x\" {\n from = \"stdout\"\n }\n}\n",
			"Whose output?: A group has several tasks, so standard output is not one text. Let a task of it write output x to the file $CAIRN_OUTPUT, which they share.", "stdout", "file"),
	},
	"outputs of a task: `pattern`": {
		sees(out("from = \"stdout\"\n pattern = \"n=(\\\\d+)\""), "a: exit 0 stdout n=1 n=2 end", "a.out.x", `"2"`, "(\\\\d+)", "\\\\d+"),
		sees(out("from = \"stdout\"\n pattern = \"n=\\\\d+\""), "a: exit 0 stdout n=1 n=2 end", "a.out.x", `"n=2"`, "n=2", "n=3"),
		sees(out("from = \"stdout\"\n pattern = \"m=\\\\d+\""), "a: exit 0 stdout n=1", "a", "failed", "n=1", "m=1"),
		refused(out("pattern = \"x\""), "Pattern without stdout: pattern looks through standard output: write from = \"stdout\" beside it.", "pattern", "from = \"stdout\"\npattern"),
		refused(out("from = \"stdout\"\npattern = \"(\""), "Invalid pattern: The pattern of output x is no regular expression: error parsing regexp: missing closing ): `(`.", "\"(\"", "\"()\""),
	},
	"outputs of a task: conversion": {
		sees(out("type = number"), "a: exit 0 x=5", "a.out.x", "5", "number", "string"),
		sees(out("type = string"), "a: exit 0 {\"x\":5}", "a.out.x", `"5"`, "string", "number"),
		sees(out("type = object({ n = number })"), "a: exit 0 x={\"n\":\"1\"}", "a.out.x", `{"n":1}`, "number", "string"),
		sees(out("type = list(string)"), "a: exit 0 x=[1]", "a.out.x", `["1"]`, "string", "number"),
	},
	"outputs of a task: empty value": {
		sees(out(""), "a: exit 0 x=", "a a.out.x", `succeeded ""`, "x=", "y="),
	},
	"outputs of a task: block": {
		sees(out(""), "a: exit 0 x<<END one EOT END", "a.out.x", `"one\nEOT"`, "<<END", "<<EOT"),
		sees(out(""), "a: exit 0 x<<END one", "a a.message", "failed output file, line 1: the block of x has no line \"END\" that ends it", "one", "one END"),
	},
	"outputs of a task: JSON null": {
		sees(out("type = number"), "a: exit 0 {\"x\":null}", "a a.message", "failed output x was not written, and it has no default", "null", "1"),
		sees(out("type = number\ndefault = 3")+echo("b", "task.a.output.x", ""), "a: exit 0 {\"x\":null}", "b.args", "3", "= 3", "= 4"),
	},
	"outputs of a task: missing output": {
		sees(task("a", "output \"x\" {}\noutput \"y\" {}"), "a: exit 0 x=5", "a a.message", "failed output y was not written, and it has no default", "\"y\" {}", "\"y\" {\n default = 1\n}"),
	},
	"outputs of a task: unknown name": {
		sees(out(""), "a: exit 0 x=5 z=6", "a a.notes", "succeeded output \"z\" is not declared", "z=6", "x=6"),
	},
	"outputs of a task: doubled name": {
		sees(out(""), "a: exit 0 x=5 x=6", "a.out.x", `"6"`, "x=5 x=6", "x=6 x=5"),
	},
}
