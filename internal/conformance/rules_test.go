// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// parts are the checks, a file for each group of tables.
var parts = []map[string][]check{triggerRules}

// ab are two tasks that nothing waits for.
var ab = task("a", "") + task("b", "")

var triggerRules = map[string][]check{
	"Trigger rules: `all_success`": {
		{play: play{flow: ab + task("t", "depends_on = [task.a, task.b]"), see: "t t.began"},
			want: "succeeded 1s", but: []string{"depends_on", "trigger_rule = \"all_failed\"\ndepends_on"}},
		{play: play{flow: ab + task("t", "depends_on = [task.a, task.b]"), script: "a: exit 1; b: exit 0 in 9s", see: "t t.ended"},
			want: "omitted 1s", but: []string{"exit 1", "exit 0"}},
	},
}
