// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// nothing is a task that fails and is forgiven, with an output that is null then; a task t below it reads it.
var nothing = gives("a", "allow_failure = true\n")

const (
	readsNull  = "a: exit 1"
	becauseOfA = " task.a.output.x is null because task a failed without writing it."
)

var nullRules = map[string][]check{
	"Null: output of a task that did not succeed": {
		{play: play{flow: nothing + echo("t", "jsonencode(task.a.output.x)", ""), script: "a: exit 1 x=lost", see: "t.args"}, want: "null", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: task("a", "allow_failure = true\noutput \"x\" {\n default = \"d\"\n}") + echo("t", "task.a.output.x", ""), script: "a: exit 1 x=lost", see: "t.args"}, want: "d", but: []string{"exit 1", "exit 0"}},
		{play: play{flow: gives("a", "when = false") + echo("t", "jsonencode(task.a.output.x)", ""), see: "t.args"}, want: "null", but: []string{"when = false", "retry {\n }", "\"x\" {}", "\"x\" {\n default = 1\n}"}},
	},
	"Null: null in a text or an operation": {
		{play: play{flow: nothing + echo("t", "\"${task.a.output.x} rows\"", ""), script: readsNull, see: "t t.tries t.reason"}, but: []string{"exit 1", "exit 0 x=1"},
			want: "failed  w.hcl:15: the body of task t: The expression result is null. Cannot include a null value in a string template." + becauseOfA},
		{play: play{flow: nothing + echo("t", "task.a.output.x + 1", ""), script: readsNull, see: "t t.reason"}, but: []string{"exit 1", "exit 0 x=1"},
			want: "failed w.hcl:15: the body of task t: Error during operation: argument must not be null." + becauseOfA},
	},
	"Null: null alone for an argument of Nomad's, or in a list": {
		{play: play{flow: nothing + task("t", "user = task.a.output.x"), script: readsNull, see: "t t.tries t.reason"}, but: []string{"exit 1", "exit 0 x=u"},
			want: "failed  w.hcl:16: the body of task t: user is null where a value is needed." + becauseOfA},
		{play: play{flow: nothing + echo("t", "task.a.output.x", ""), script: readsNull, see: "t t.reason"}, but: []string{"exit 1", "exit 0 x=1"},
			want: "failed w.hcl:15: the body of task t: null stands where a value is needed." + becauseOfA},
	},
	"Null: null that an author wrote or computed": {
		{with: arguments("null", "null"), without: arguments("[\"x\"]", "7"), want: arguments("", "")()},
		{with: arguments("task.a.status == \"failed\" ? null : [\"x\"]", "param.n"), without: arguments("task.a.status == \"failed\" ? [\"x\"] : null", "7"), want: arguments("", "")()},
		{play: play{flow: task("a", "user = null"), see: "run"}, want: "invalid: Wrong value: user is null where a value is needed.", but: []string{"null", "\"u\""}},
	},
	"Null: null in an attribute of a body": {
		{play: play{flow: "task \"a\" {\n run_workflow {\n  name = \"v\"\n  params = { x = null }\n }\n}\n", also: "workflow \"v\" {\n param \"x\" {\n  nullable = true\n }\n" + task("b", "") + "}\n", see: "a.body"},
			want: `{"params":{"x":{"v":null}},"workflow":"v"}`, but: []string{"x = null", "x = 1"}},
		{play: play{flow: "param \"n\" {\n nullable = true\n default = null\n}\ntask \"a\" {\n approval {\n  timeout = param.n\n }\n}\n", see: "run a took"}, want: "running waiting never", but: []string{"default = null", "default = \"5s\""}},
		{play: play{flow: "param \"n\" {\n nullable = true\n default = null\n}\ntask \"a\" {\n http {\n  url = param.n\n }\n}\n", see: "a a.reason"},
			want: "invalid: Wrong value: `http.url` of task a is null where a value is needed.", but: []string{"default = null", "default = \"http://h\""}},
		{play: play{flow: "param \"n\" {\n nullable = true\n default = null\n}\ntask \"a\" {\n http {\n  url = \"http://h\"\n  method = param.n\n }\n}\n", see: "a.body"},
			want: `{"method":"GET","timeout":30000000000,"url":"http://h"}`, but: []string{"default = null", "default = \"PUT\""}},
		{play: play{flow: "param \"n\" {\n nullable = true\n default = null\n}\ntask \"a\" {\n dispatch {\n  job = \"j\"\n  payload = param.n\n }\n}\n", see: "a.body"},
			want: `{"job":"j","namespace":"default"}`, but: []string{"default = null", "default = \"PUT\""}},
	},
	"Null: null for a param": {
		{play: play{flow: "param \"n\" {\n type = number\n}\n" + task("a", ""), params: []string{"n=null"}, see: "run"},
			want: "invalid: Invalid param: param n must not be null. Write nullable = true in it if null means something.", but: []string{"type = number", "type = number\n nullable = true"}},
	},
	"Null: null in `for_each` or `count`": {
		{play: play{flow: gives("p", "allow_failure = true") + task("t", "for_each = jsondecode(task.p.output.x)"), script: "p: exit 0 x=null", see: "t t.reason"},
			want: "failed w.hcl:15: `for_each` of task t is null where a value is needed.", but: []string{"x=null", "x={}"}},
		{play: play{flow: nothing + task("t", "count = task.a.output.x"), script: readsNull, see: "t t.reason"}, but: []string{"exit 1", "exit 0 x=2"},
			want: "failed w.hcl:16: `count` of task t is null where a value is needed." + becauseOfA},
	},
	"Null: way around": {
		{play: play{flow: nothing + echo("t", "coalesce(task.a.output.x, \"none\")", ""), script: readsNull, see: "t t.args"}, want: "succeeded none", but: []string{"coalesce(task.a.output.x, \"none\")", "task.a.output.x"}},
		{play: play{flow: nothing + echo("t", "task.a.status == \"failed\" ? \"none\" : task.a.output.x", ""), script: readsNull, see: "t t.args"}, want: "succeeded none", but: []string{"\"failed\"", "\"omitted\""}},
		{play: play{flow: nothing + echo("t", "try(\"${task.a.output.x}!\", \"none\")", ""), script: readsNull, see: "t t.args"}, want: "succeeded none", but: []string{"exit 1", "exit 0 x=1"}},
	},
	"Null: `retry.when` over a null `exit_code`": {
		{play: play{flow: tried("max_attempts = 3\nwhen = attempt.exit_code < 3", ""), script: "a: signal 9", see: "a a.tries a.reason"},
			want: "failed failed signal 9: retry.when: w.hcl:10: `retry.when` of task a: Error during operation: argument must not be null.", but: []string{"signal 9", "exit 1"}},
		{with: warningsOf(tried("max_attempts = 3\nwhen = attempt.exit_code < 3", "")), without: warningsOf(tried("max_attempts = 3\nwhen = attempt.number < 3", "")),
			want: "Not every attempt has an exit code: attempt.exit_code is null when a process was killed or never ran; `retry.when` of task a cannot be evaluated then, so there is no retry. Use attempt.reason, or try(…, true)."},
	},
}

// arguments is the body of a task below one that failed, with these arguments of a driver and of Nomad's own, or without them.
func arguments(args, cpu string) func() string {
	return func() string {
		argument := func(name, value string) string {
			if value == "" {
				return ""
			}
			return name + " = " + value + "\n"
		}
		flow := "param \"n\" {\n nullable = true\n default = null\n}\n" + nothing + "task \"t\" {\n depends_on = [task.a]\n trigger_rule = \"all_done\"\n driver = \"d\"\n" +
			" config {\n  command = \"c\"\n" + argument("args", args) + " }\n resources {\n  memory = 64\n" + argument("cpu", cpu) + " }\n}\n"
		return play{flow: flow, script: readsNull, see: "t t.body"}.outcome()
	}
}
