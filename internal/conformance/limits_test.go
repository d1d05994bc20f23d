// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// tooLong is what this machine says of an argument or variable that it cannot pass on.
const tooLong = "argument list too long (one argument or variable holds at most 128 KiB; pass larger data by file)"

// sized is text of n bytes.
func sized(n int) string { return strings.Repeat("x", n) }

// giving is a script by which a task gives outputs o0, o1, … of the same text.
func giving(n int, text string) string {
	script := "a: exit 0"
	for i := range n {
		script += fmt.Sprintf(" o%d=%s", i, text)
	}
	return script
}

// giver is a task with so many outputs.
func giver(n int, more string) string { return task("a", repeat(n, "output \"o%d\" {}\n")+more) }

// escaped is text whose JSON has six bytes for each of its characters, and two quotes.
func escaped(n int) string { return strings.Repeat("<", n) }

var limitsTable = map[string][]check{
	"Limits: one output": {
		sees(giver(1, ""), giving(1, escaped(10923)), "a a.message", "failed output o0: it has 65540 bytes, at most 65536; put larger data into an artifact", escaped(10923), escaped(10922)),
	},
	"Limits: outputs of a task": {
		sees(giver(5, ""), giving(5, escaped(10000)), "a a.message", "failed its outputs have 300010 bytes, at most 262144; put larger data into an artifact", "o4=", "z="),
		sees(giver(5, ""), giving(5, sized(60<<10)), "a a.message",
			"failed the output file has more than 262144 bytes; put larger data into an artifact and its address into an output", sized(60<<10), sized(50<<10)),
	},
	"Limits: outputs of a run": {
		once(sees(giver(4, "count = 33"), giving(4, escaped(10922)), "a a[32].message",
			"failed with it the outputs of the run have 8650488 bytes, at most 8388608; put larger data into artifacts", "count = 33", "count = 32")),
	},
	"Limits: params of a run": {
		notSettled("param \"p\" {\n type = string\n}\nparam \"q\" {\n type = string\n}\n"+task("a", ""), []string{"p=" + sized(128<<10), "q=" + sized(128<<10)},
			"Params too large: The params have 262148 bytes together, at most 262144 are allowed. Put large data where the tasks can read it, and pass its name.", "q="+sized(128<<10), "q="+sized(128<<10-4)),
	},
	"Limits: keys of an expansion": {
		once(sees(task("b", "")+task("a", "for_each = { for i in flatten([for k in range(task.b.status == \"succeeded\" ? 33 : 0) : range(k * 1000, k * 1000 + 1000)]) : format(\"%0128d\", i) => true }"), "b: exit 0",
			"a a.reason", "failed w.hcl:14: the keys have 4224000 bytes together, at most 4194304", "exit 0", "exit 1")),
	},
	"Limits: labels of a workflow": {
		refused("labels = { a = \""+sized(4<<10)+"\" }\n"+task("a", ""),
			"Labels too large: The labels have 4097 bytes together, at most 4096 are possible. Labels are for finding runs; put longer text into description.",
			sized(4<<10), sized(4<<10-1)),
	},
	"Limits: tasks of a workflow": {
		refused(repeat(workflow.MaxTasks+1, "task \"t%d\" {\n}\n"), "Too many tasks: workflow w has 10001 tasks, at most 10000 are possible. Fan out with for_each instead.", "task \"t10000\" {\n}\n", ""),
	},
	"Limits: instances of a task": {
		refused(task("a", "count = 1000001"), "Wrong value: `count` of task a must be a whole number from 0 to 1000000.", "1000001", "1000000"),
	},
	"Limits: declared outputs of a task or run": {
		refused(task("a", repeat(workflow.MaxRunOutputsNumber+1, "output \"o%d\" {}\n")), "Too many outputs: task a has 1001 outputs, at most 1000 are possible.", "output \"o1000\" {}\n", ""),
		refused(task("a", "")+repeat(workflow.MaxRunOutputsNumber+1, "output \"o%d\" {\n value = 1\n}\n"), "Too many outputs: workflow w has 1001 outputs, at most 1000 are possible.", "output \"o1000\" {\n value = 1\n}\n", ""),
	},
	"Limits: one argument or environment value": {
		{with: onThisMachine(execution("true", sized(128<<10), ""), ""), without: onThisMachine(execution("true", sized(128<<10-1), ""), ""), want: tooLong},
		{with: onThisMachine(execution("true", "", sized(128<<10)), ""), without: onThisMachine(execution("true", "", sized(128<<10-len("V=")-1)), ""), want: tooLong},
	},
	"Limits: nesting of expressions": {
		refused(output("value = "+strings.Repeat("[", 1999)+strings.Repeat("]", 1999))+task("a", ""),
			"Nested too deeply: Brackets, operators and templates may stand inside each other 2000 deep. Put parts into locals.", "[[", "[", "]]", "]"),
	},
}

// planned is the check that a word is reserved, wherever it stands in a workflow, with what to do in the meantime.
func planned(word, meantime string) []check {
	why := "invalid: Not supported yet: " + word + " is part of the language but not supported yet. " + meantime + " in the meantime."
	var list []check
	for _, text := range []string{
		word + " \"x\" {\n}\n" + oneTask, flowIn("w", word+" \"x\" {\n}\n"+task("a", "")), flowIn("w", word+" = \"x\"\n"+task("a", "")), flowIn("w", task("a", word+" = \"x\"")),
		flowIn("w", "defaults {\n"+word+" = \"x\"\n}\n"+task("a", "")),
	} {
		list = append(list, check{with: compiled(text), without: compiled(strings.ReplaceAll(text, word, "x"+word)), want: why})
	}
	return list
}

var plannedTable = map[string][]check{
	"Not supported yet: `schedule`":  planned("schedule", "Start the workflow from cron"),
	"Not supported yet: `trigger`":   planned("trigger", "Start the workflow with cairn run"),
	"Not supported yet: `notify`":    planned("notify", "Use a finally task"),
	"Not supported yet: `notifier`":  planned("notifier", "Use a finally task"),
	"Not supported yet: `pool`":      planned("pool", "Use max_parallel"),
	"Not supported yet: `task_type`": planned("task_type", "Use defaults"),
	"Not supported yet: `uses`":      planned("uses", "Write the tasks out"),
}
