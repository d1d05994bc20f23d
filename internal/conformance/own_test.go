// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// asking is a task a that asks somebody, and a task b below it.
func asking(inBlock, then string) play {
	return play{flow: bare("a", "approval {\n"+inBlock+"\n}", "") + then, see: "a b"}
}

var below = task("b", "depends_on = [task.a]")

var approvalTable = map[string][]check{
	"approval: `approvers`": {
		{play: play{flow: asking("approvers = [\"ann\", \"bob\"]", "").flow, do: []string{"2s: approve a by=eve", "3s: reject a by=eve"}, see: "a refused"},
			want: "waiting task a waits for ann or bob; eve may not decide it / task a waits for ann or bob; eve may not decide it", but: []string{"bob", "eve"}},
		{play: play{flow: asking("", "").flow, do: []string{"2s: approve a by=eve"}, see: "a a.out.by"}, want: `succeeded "eve"`, but: []string{"approval {", "approval {\napprovers = [\"ann\"]"}},
		{play: play{flow: asking("approvers = \"ann\"", "").flow, see: "a"}, but: []string{"\"ann\"", "[\"ann\"]"},
			want: "invalid: Wrong value: `approval.approvers` of task a must be a list of text such as [\"a\", \"b\"], not text."},
	},
	"approval: `timeout`": {
		{play: play{flow: asking("timeout = \"5s\"", "").flow, see: "a a.ended a.reason"}, want: "failed 5s nobody decided within 5s", but: []string{"5s", "6s"}},
		{play: play{flow: asking("", "").flow, see: "a took"}, want: "waiting never", but: []string{"approval {", "approval {\ntimeout = \"600h\""}},
		{play: play{flow: task("x", "") + "finally \"a\" {\napproval {}\n}\n", see: "a took"}, want: "failed 1h0m1s", but: []string{"approval {", "approval {\ntimeout = \"2h\""}},
	},
	"approval: `on_timeout`": {
		{play: play{flow: asking("timeout = \"5s\"", below).flow, see: "a b"}, want: "failed omitted", but: []string{"timeout = ", "on_timeout = \"approve\"\ntimeout = "}},
		{play: play{flow: asking("timeout = \"5s\"\non_timeout = \"approve\"", below).flow, see: "a b b.began"}, want: "succeeded succeeded 5s", but: []string{"\"approve\"", "\"reject\""}},
		{play: play{flow: asking("timeout = \"5s\"\non_timeout = \"aprove\"", "").flow, see: "a"}, but: []string{"aprove", "approve"},
			want: "invalid: Wrong value: `approval.on_timeout` of task a must be \"reject\" or \"approve\". Did you mean `approve`?"},
		{play: play{flow: asking("on_timeout = \"approve\"", "").flow, see: "a"}, but: []string{"on_timeout", "timeout = \"5s\"\non_timeout"},
			want: "invalid: Missing timeout: on_timeout says what happens when the timeout of the approval is over, and it has none. Write timeout = \"12h\" beside it."},
	},
	"approval: `input \"name\" { }`": {
		{play: play{flow: asking("input \"n\" {}", "").flow + echo("b", "task.a.output.n", ""), do: []string{"2s: approve a n=\"five\""}, see: "a.out.n b.args"}, want: `"five" five`, but: []string{"five", "six"}},
		{play: play{flow: asking("input \"n\" {}", "").flow, do: []string{"2s: approve a n=\"five\" m=\"six\""}, see: "a refused"}, want: "waiting a has no input m", but: []string{" m=\"six\"", ""}},
	},
	"input: outputs": {
		{with: func() string { return outputTypes(asking("input \"n\" {\n type = number\n}", "")) }, without: func() string { return outputTypes(asking("", "")) },
			want: "n number, by string, comment string"},
		{play: play{flow: asking("", "").flow + echo("b", "task.a.output.by, task.a.output.comment", ""), do: []string{"2s: approve a by=bob why=fine"}, see: "b.args"}, want: "bob fine", but: []string{"bob", "ann"}},
	},
	"input: decided by time": {
		{play: play{flow: asking("timeout = \"5s\"\non_timeout = \"approve\"\ninput \"n\" {\n default = \"d\"\n}", "").flow +
			echo("b", "jsonencode([task.a.output.n, task.a.output.by, task.a.output.comment])", ""), see: "b.args"}, want: `["d",null,null]`, but: []string{"\"d\"", "\"e\""}},
		{play: play{flow: asking("timeout = \"5s\"\non_timeout = \"approve\"\ninput \"n\" {}", "").flow, see: "a"}, but: []string{"input \"n\" {}", "input \"n\" {\n default = \"\"\n}"},
			want: "invalid: Missing default: Nobody gives input n when time approves, so it needs a default beside on_timeout = \"approve\"."},
	},
	"input: rejected": {
		{play: play{flow: asking("", below).flow, do: []string{"2s: reject a why=no"}, see: "a a.tries b a.reason"}, want: "failed failed omitted rejected by ann: no", but: []string{"reject", "approve"}},
	},
}

var inputTable = map[string][]check{
	"input: `type`": {
		{play: play{flow: asking("input \"n\" {\n type = number\n}", "").flow, do: []string{"2s: approve a n=\"5\""}, see: "a.out.n"}, want: "5", but: []string{"type = number", ""}},
		{play: play{flow: asking("input \"n\" {\n type = number\n}", "").flow, do: []string{"2s: approve a n=\"many\""}, see: "a refused"},
			want: "waiting input n of a: w.hcl:5: output n of task a must be a number: \"many\" is not", but: []string{"many", "5"}},
		{play: play{flow: asking("input \"n\" {}", "").flow, do: []string{"2s: approve a n=5"}, see: "a.out.n"}, want: `"5"`, but: []string{"{}", "{\n type = number\n}"}},
	},
	"input: `default`": {
		{play: play{flow: asking("input \"n\" {\n default = \"d\"\n}", "").flow + echo("b", "task.a.output.n", ""), do: []string{"2s: approve a"}, see: "b.args"}, want: "d", but: []string{"\"d\"", "\"e\""}},
		{play: play{flow: asking("input \"n\" {}", "").flow, do: []string{"2s: approve a"}, see: "a refused"}, want: "waiting input n of a is missing, and it has no default", but: []string{"{}", "{\n default = \"d\"\n}"}},
		{play: play{flow: asking("input \"n\" {\n default = run.id\n}", "").flow, see: "a"}, but: []string{"run.id", "\"d\""},
			want: "invalid: Not known here: `default` of input n cannot refer to run.id. It is needed before any run exists."},
	},
	"input: `sensitive`": {
		{play: play{flow: asking("input \"n\" {\n sensitive = true\n}", "").flow, do: []string{"2s: approve a n=\"x\""}, see: "a.out.n"}, want: "(sensitive)", but: []string{"true", "false"}},
	},
	"input: `description`": {
		{play: play{flow: asking("input \"n\" {\n description = \"how many\"\n}", "").flow, do: []string{"2s: approve a n=\"x\""}, see: "a"}, want: "succeeded", but: []string{"description", "descriptoin"}},
		{play: play{flow: asking("input \"n\" {\n description = [1]\n}", "").flow, see: "a"}, want: "invalid: Wrong value: `description` must be text, not a list.", but: []string{"[1]", "\"how many\""}},
	},
}

// outputTypes are the outputs of a play's first task, with their types.
func outputTypes(p play) string {
	def, _, _, problem := p.compile()
	if problem != "" {
		return problem
	}
	text := ""
	for _, o := range def.Tasks[0].Outputs {
		if text != "" {
			text += ", "
		}
		text += o.Name + " " + o.Type.Text
	}
	return text
}

// waiting is a task a that waits, and a task x before it where it depends on that.
func waiting(inBlock, more string) play {
	return play{flow: task("x", "") + bare("a", "wait {\n"+inBlock+"\n}", more), see: "a a.ended"}
}

var waitTable = map[string][]check{
	"wait: `duration`": {
		{play: waiting("duration = \"5s\"", ""), want: "succeeded 5s", but: []string{"5s", "6s"}},
		{play: waiting("duration = \"5s\"", "depends_on = [task.x]"), want: "succeeded 6s", but: []string{"[task.x]", "[]"}},
		{play: waiting("duration = \"5\"", ""), but: []string{"\"5\"", "\"5s\""},
			want: "invalid: Wrong value: `wait.duration` of task a must be a duration such as \"90s\", \"5m\" or \"1h30m\"; the units are ns, us, ms, s, m and h."},
		{play: waiting("", ""), but: []string{"wait {", "wait {\nduration = \"5s\""},
			want: "invalid: Missing argument: The wait block of task a needs duration, such as \"10m\", or until, a moment such as \"2026-01-31T06:00:00Z\"."},
	},
	"wait: `until`": {
		{play: waiting("until = \"2026-01-31T03:00:00+01:00\"", ""), want: "succeeded 0s", but: []string{"03:00", "04:00"}},
		{play: waiting("until = timeadd(run.scheduled_at, \"2h\")", ""), want: "succeeded 2h0m0s", but: []string{"2h", "3h"}},
		{play: waiting("until = \"2020-01-31T03:00:00Z\"", ""), want: "succeeded 0s", but: []string{"2020-01-31T03", "2026-01-31T04"}},
		{play: waiting("until = \"2026-01-31\"", ""), but: []string{"2026-01-31", "2026-01-31T04:00:00Z"},
			want: "invalid: Wrong value: `wait.until` of task a must be a moment with its zone, such as \"2026-01-31T06:00:00Z\" (RFC 3339)."},
		{play: waiting("until = \"2026-01-31T04:00:00Z\"\nduration = \"1s\"", ""), but: []string{"\nduration = \"1s\"", ""},
			want: "invalid: Two ways to wait: The wait of task a has both duration and until. Keep one: how long, or to which moment."},
	},
}
