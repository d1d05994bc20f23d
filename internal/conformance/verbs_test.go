// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import "strings"

// fits is a check of the states that a verb fits in; another verb does not fit in the same.
func fits(verb, other string, states []state, want string) check {
	return check{with: fitting(verb, states), without: fitting(other, states), want: want}
}

// withFinally is a chain with a finally task.
var withFinally = then + finally("f", "")

// elements are instances over what p gives, which runs whether z fails or not.
var elements = task("z", "") + gives("p", "depends_on = [task.z]\ntrigger_rule = \"all_done\"\n") +
	task("a", "for_each = { for e in split(\"+\", task.p.output.x) : substr(e, 0, 1) => e }")

var verbRules = map[string][]check{
	"Verbs: stop": {
		fits("stop", "terminate", runStates, "queued running pausing paused"),
		{play: play{flow: withFinally, script: "b: hang", do: []string{"5s: stop"}, see: "run b c f took"}, want: "cancelled cancelled cancelled succeeded 6s", but: []string{"5s: stop", "5s: cancel_task b"}},
	},
	"Verbs: terminate": {
		fits("terminate", "stop", runStates, "queued running pausing paused stopping"),
		{play: play{flow: withFinally, script: "b: hang", do: []string{"5s: terminate"}, see: "run b c f took"}, want: "cancelled cancelled cancelled cancelled 5s", but: []string{"terminate", "stop"}},
		{play: play{flow: withFinally, script: "b: hang; f: hang", do: []string{"5s: stop", "8s: terminate"}, see: "run f f.tries took"}, want: "cancelled cancelled cancelled 8s", but: []string{"terminate", "stop"}},
	},
	"Verbs: pause": {
		fits("pause", "resume", runStates, "running"),
		{play: play{flow: then, do: []string{"500ms: pause", "600ms: ? run b", "9s: ? run b c"}, see: "run c starts"}, want: "pausing running | paused succeeded pending | paused pending 1", but: []string{"500ms: pause", "500ms: ? run"}},
	},
	"Verbs: resume": {
		fits("resume", "pause", runStates, "pausing paused"),
		{play: play{flow: then, do: []string{"500ms: pause", "9s: resume"}, see: "run c c.began"}, want: "succeeded succeeded 9s", but: []string{"resume", "pause"}},
	},
	"Verbs: retry": {
		fits("retry", "resume", runStates, "failed cancelled skipped"),
		{play: play{flow: then + task("d", ""), script: "b: exit 1, exit 0", do: []string{"5s: retry"}, see: "run b.tries c.tries d.tries"}, want: "succeeded failed,succeeded succeeded succeeded", but: []string{"retry", "? run"}},
	},
	"Verbs: rerun": {
		{with: rerunning(), without: fitting("rerun", nil), want: "succeeded failed cancelled skipped"},
		{play: play{flow: then, do: []string{"5s: rerun"}, see: "run starts b.began c.tries"}, want: "succeeded 4 5s succeeded", but: []string{"rerun", "rerun only=c"}},
		{play: play{flow: then + task("d", ""), do: []string{"5s: rerun from=b"}, see: "run starts b.began c.began d.began"}, want: "succeeded 5 5s 6s 0s", but: []string{"from=b", "from=d"}},
		{play: play{flow: then + task("d", ""), do: []string{"5s: rerun only=b"}, see: "run starts b.began c.began d.began"}, want: "succeeded 4 5s 1s 0s", but: []string{"only=b", "from=b"}},
		{play: play{flow: listParam + echo("a", "param.l", ""), params: []string{"l=\"x\""}, do: []string{"5s: rerun l=\"y\""}, see: "a.args"}, want: "y", but: []string{"l=\"y\"", ""}},
	},
	"Verbs: task retry": {
		fits("retry_task a", "cancel_task a", goingStates, "failed omitted cancelled"),
		fits("retry_task a", "cancel_task a", overStates, "failed omitted cancelled"),
		{play: play{flow: then + task("d", "") + task("e", "depends_on = [task.d]"), script: "b: exit 1, exit 0; d: exit 1", do: []string{"5s: retry_task b"}, see: "run b c d e"},
			want: "failed succeeded succeeded failed omitted", but: []string{"retry_task b", "retry_task d"}},
	},
	"Verbs: task skip": {
		fits("skip_task a", "cancel_task a", goingStates, "pending queued waiting failed"),
		fits("skip_task a", "cancel_task a", overStates, "failed omitted cancelled"),
		{play: play{flow: then, script: "b: exit 1, exit 0 in 5s", do: []string{"5s: retry", "6s: skip_task c why=late"}, see: "run c c.reason"}, want: "succeeded skipped skipped by hand by ann: late", but: []string{"6s: skip_task c", "6s: succeed_task c"}},
	},
	"Verbs: task succeed": {
		fits("succeed_task a", "cancel_task a", goingStates, "pending queued waiting failed"),
		fits("succeed_task a", "cancel_task a", overStates, "failed omitted cancelled"),
		{play: play{flow: task("z", "") + task("a", "depends_on = [task.z]\noutput \"n\" {\n type = number\n}") + echo("b", "task.a.output.n", ""), do: []string{"500ms: succeed_task a n=4"}, see: "run a a.tries b.args"},
			want: "succeeded succeeded  4", but: []string{"n=4", "n=5"}},
		{play: play{flow: task("z", "") + task("a", "depends_on = [task.z]\noutput \"n\" {\n type = number\n}"), do: []string{"500ms: succeed_task a n=\"x\""}, see: "refused"},
			want: "output n of a: w.hcl:16: output n of task a must be a number: \"x\" is not", but: []string{"\"x\"", "4"}},
		{play: play{flow: task("z", "") + task("a", "depends_on = [task.z]\noutput \"n\" {\n type = number\n}"), do: []string{"500ms: succeed_task a"}, see: "refused"},
			want: "output n of a is missing, and it has no default", but: []string{"type = number", "default = \"d\""}},
	},
	"Verbs: task cancel": {
		fits("cancel_task a", "skip_task a", goingStates, "queued waiting starting running"),
		{play: play{flow: task("a", "count = 2"), script: "a: exit 0 in 5s", do: []string{"2s: cancel_task a[1]"}, see: "a[0] a[1] a"}, want: "succeeded cancelled cancelled", but: []string{"a[1]", "a"}},
		{play: play{flow: ab, script: "a: hang; b: exit 0 in 5s", do: []string{"2s: cancel_task a"}, see: "a b took"}, want: "cancelled succeeded 5s", but: []string{"cancel_task a", "stop"}},
	},
	"Verbs: approve": {
		{play: play{flow: approval("a", "input \"n\" {\n type = number\n}") + echo("b", "task.a.output.n, task.a.output.by, task.a.output.comment", ""), do: []string{"5s: approve a n=7 why=fine"}, see: "a b.args a.attempts"},
			want: "succeeded 7 ann fine 1.1 succeeded code=- nowhere 0s-5s (approved by ann: fine)", but: []string{"n=7", "n=8"}},
		{play: play{flow: approval("a", "input \"n\" {\n type = number\n}"), do: []string{"5s: approve a n=\"many\"", "6s: approve a", "7s: reject a"}, see: "a refused"},
			want: "failed input n of a: w.hcl:5: output n of task a must be a number: \"many\" is not / input n of a is missing, and it has no default", but: []string{"\"many\"", "7"}},
		{play: play{flow: approval("a", ""), do: []string{"5s: approve a", "6s: approve a by=bob", "7s: reject a"}, see: "a idle refused"},
			want: "succeeded 1 task a is decided (approved by ann); reject is for approvals that are waiting", but: []string{"5s: approve", "5s: reject"}},
		{play: play{flow: approval("a", "") + task("b", "depends_on = [task.a]"), do: []string{"4s: approve b", "5s: approve a"}, see: "refused"}, want: "task b is no approval; approve is for approvals that are waiting", but: []string{"approve b", "approve a"}},
	},
	"Verbs: reject": {
		{play: play{flow: approval("a", "") + task("b", "depends_on = [task.a]"), do: []string{"5s: reject a why=no", "6s: reject a", "7s: approve a"}, see: "a a.reason b idle refused"},
			want: "failed rejected by ann: no omitted 1 task a is decided (rejected by ann: no); approve is for approvals that are waiting", but: []string{"5s: reject", "5s: approve"}},
	},
	"Verbs: repeated": {
		{with: repeating("%s"), without: repeating("? run"), want: "stop terminate pause resume skip_run cancel_task skip_task succeed_task approve reject retry retry_task"},
	},
	"Verbs: misfit": {
		{play: play{flow: ab, do: []string{"5s: pause", "6s: resume", "7s: retry_task a"}, see: "refused"},
			want: "run r is succeeded; pause is for runs that are running / run r is succeeded; resume is for runs that are pausing or paused / " +
				"task a is succeeded; task retry is for what is failed, cancelled or omitted", but: []string{"5s: pause", "500ms: pause"}},
	},
	"Verbs: recorded": {
		{play: play{flow: then, script: "b: hang", do: []string{"2s: pause by=bob why=lunch", "3s: resume", "4s: cancel_task b by=eve why=slow"}, see: "verbs"},
			want: "pause bob@2s lunch, resume ann@3s, cancel_task eve@4s b slow", but: []string{"why=lunch", ""}},
	},
	"Verbs: retry resets": {
		{play: play{flow: then + task("d", "depends_on = [task.c]\ntrigger_rule = \"all_done\"") + task("e", "") + task("g", "count = 3\nmin_success = 2") + finally("f", ""),
			script: "b: exit 1, exit 0; g[1]: exit 1, exit 0", do: []string{"9s: ? b c d e g g[1]", "9s: retry"}, see: "run b.tries c.tries d.tries e.tries g[0].tries g[1].tries f.tries"},
			want: "failed omitted succeeded succeeded succeeded failed | succeeded failed,succeeded succeeded succeeded,succeeded succeeded succeeded failed,succeeded succeeded,succeeded", but: []string{"9s: retry", "9s: retry_task b"}},
		{play: play{flow: ab, script: "a: hang, exit 0", do: []string{"1500ms: cancel_task a", "5s: retry"}, see: "a.tries b.tries"}, want: "cancelled,succeeded succeeded", but: []string{"5s: retry", "5s: ? run"}},
	},
	"Verbs: retry counts anew": {
		{play: play{flow: tried("max_attempts = 2", ""), script: "a: exit 1", do: []string{"30s: retry"}, see: "a.attempts"},
			want: "1.1 failed code=1 n1 0s-1s (exit code 1), 1.2 failed code=1 n2 11s-12s (exit code 1), 2.3 failed code=1 n3 30s-31s (exit code 1), 2.4 failed code=1 n4 41s-42s (exit code 1)", but: []string{"= 2", "= 3"}},
		{play: play{flow: tried("max_lost = 1", ""), script: "a: lost", do: []string{"50s: retry"}, see: "a.tries"}, want: "lost,lost,lost,lost", but: []string{"50s: retry", "50s: ? run"}},
		{play: play{flow: task("a", "deadline = \"5s\""), script: "a: hang, exit 0 in 4s", do: []string{"50s: retry"}, see: "a a.tries"}, want: "succeeded timed_out,succeeded", but: []string{"4s", "6s"}},
		{play: play{flow: "timeout = \"5s\"\n" + task("a", ""), script: "a: hang, exit 0 in 4s", do: []string{"50s: retry"}, see: "run a.tries took"}, want: "succeeded cancelled,succeeded 54s", but: []string{"4s", "6s"}},
	},
	"Verbs: retry keeps params": {
		{play: play{flow: "param \"l\" {\n default = run.scheduled_at\n}\n" + echo("a", "param.l, run.started_at", ""), script: "a: exit 1, exit 0", do: []string{"9s: retry"}, see: "a.args"},
			want: "2026-01-31T02:00:00Z 2026-01-31T02:00:09Z", but: []string{"9s: retry", "9s: rerun l=\"now\""}},
	},
	"Verbs: retry keeps expansions": {
		{play: play{flow: task("a", "for_each = toset([run.started_at])"), script: "a: exit 1, exit 0", do: []string{"9s: retry"}, see: "a.keys"},
			want: "2026-01-31T02:00:00Z=0:succeeded", but: []string{"retry", "rerun"}},
		{play: play{flow: elements, script: "z: exit 1, exit 0; p: exit 0 x=k1+l1+o1, exit 0 x=k1+l2+m3", do: []string{"9s: ? a.keys", "9s: retry"}, see: "a.keys a[0].tries a[1].tries a[3].tries"},
			want: "k=0:succeeded,l=1:succeeded,o=2:succeeded | k=0:succeeded,l=3:succeeded,m=4:succeeded succeeded succeeded succeeded", but: []string{"+l2", "+l1"}},
		{play: play{flow: elements, script: "z: exit 1, exit 0; p: exit 0 x=k1+l1+o1, exit 0 x=k1+l2+m3; a[l]: exit 1", do: []string{"9s: ? a.keys", "9s: retry_task a"}, see: "a.keys a[0].tries a[1].tries"},
			want: "k=0:succeeded,l=1:failed,o=2:succeeded | k=0:succeeded,l=1:failed,o=2:succeeded succeeded failed,failed", but: []string{"retry_task a", "retry"}},
	},
	"Verbs: by hand on a run that is over": {
		in(overStates, "failed", "succeeded", "run a", "failed failed"),
		in(overStates, "omitted", "cancelled", "run a", "failed omitted"),
		{play: play{flow: then, script: "b: exit 1", do: []string{"5s: skip_task b why=old", "6s: ? run b verbs", "9s: retry"}, see: "run b c b.tries"},
			want: "failed failed skip_task ann@5s b old | succeeded skipped succeeded failed", but: []string{"9s: retry", "9s: ? run"}},
	},
}

// repeating does every verb, and once more as said, and tells which of them take that for done already and keep no record.
func repeating(again string) func() string {
	return func() string {
		var done []string
		for _, c := range []struct {
			verb string
			play
		}{
			{"stop", play{flow: ab, script: "a: hang dies 9s"}}, {"terminate", play{flow: ab, script: "a: hang dies 9s"}},
			{"pause", play{flow: then, script: "b: exit 0 in 9s"}}, {"resume", play{flow: then, do: []string{"500ms: pause"}}}, {"skip_run", play{flow: ab, begins: "9s"}},
			{"cancel_task a", play{flow: ab, script: "a: hang dies 9s"}}, {"skip_task c", play{flow: then, script: "b: exit 0 in 9s"}},
			{"succeed_task c", play{flow: then, script: "b: exit 0 in 9s"}}, {"approve a", play{flow: approval("a", "")}}, {"reject a", play{flow: approval("a", "") + then}},
			{"retry generation=2", play{flow: ab, script: "a: exit 1"}}, {"retry_task a generation=2", play{flow: ab, script: "a: exit 1"}},
		} {
			p := c.play
			p.do = append(append([]string{}, p.do...), "3s: "+c.verb, "3100ms: "+strings.ReplaceAll(again, "%s", c.verb))
			p.see = "idle refused verbs"
			seen, verb := p.outcome(), strings.Fields(c.verb)[0]
			if idle, kept, _ := strings.Cut(seen, "  "); idle == "1" && strings.Count(kept, verb) == 1 {
				done = append(done, verb)
			}
		}
		return strings.Join(done, " ")
	}
}

// rerunning tells in which states of a run a rerun is taken.
func rerunning() func() string {
	return func() string {
		var fits []string
		for _, st := range runStates {
			p := st.play
			p.do, p.see = append(append([]string{}, p.do...), st.at+": rerun"), "refused"
			if p.outcome() == "" {
				fits = append(fits, st.name)
			}
		}
		return strings.Join(fits, " ")
	}
}
