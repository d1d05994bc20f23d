// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// starting is a task a that runs a workflow, as it is written, beside whose own workflow stand others.
func starting(inBlock, more, also string) play {
	return play{flow: bare("a", "run_workflow {\n"+inBlock+"\n}", more), also: also, see: "a a.body"}
}

// kidOf is a workflow k with more in it.
func kidOf(more string) string { return "workflow \"k\" {\n task \"x\" {}\n" + more + "\n}\n" }

const kidParam = "param \"n\" {\n type = number\n}"

var childTable = map[string][]check{
	"run_workflow: `name`": {
		{play: starting("name = \"k\"", "", kid), want: `succeeded {"workflow":"k"}`, but: []string{"name = \"k\"", "name = \"w\""}},
		{play: withFile(starting("source = \"k.hcl\"", "", ""), "k.hcl\n"+kid), want: `succeeded {"source":"k.hcl"}`, but: []string{"source = \"k.hcl\"", "source = \"k.hcl\"\nname = \"k\""}},
		{play: withFile(starting("source = \"k.hcl\"", "", ""), "k.hcl\n"+kid+strings.Replace(kid, "\"k\"", "\"l\"", 1)), but: []string{"\"k.hcl\"", "\"k.hcl\"\nname = \"l\""},
			want: "invalid: Several workflows: The files at k.hcl declare several workflows: k or l. Write name beside source."},
		{play: starting("name = run.id", "", kid), but: []string{"run.id", "\"k\""},
			want: "invalid: Not a constant: `name` must be a constant: it is needed before anything runs, so it cannot refer to run.id."},
	},
	"run_workflow: `source`": {
		{play: withFile(starting("source = \"k\"", "", ""), "k/one.hcl\n"+kid), want: `succeeded {"source":"k"}`, but: []string{"source = \"k\"", "source = \"k/one.hcl\""}},
		{play: withFile(starting("source = \"k.hcl\"", "", ""), "l.hcl\n"+kid), but: []string{"l.hcl", "k.hcl"},
			want: "invalid: No such file: There is no workflow at k.hcl in the workflow's folder: neither a file, nor a folder with .hcl files. Did you mean `l.hcl`?"},
		{play: withFile(starting("source = \"../k.hcl\"", "", ""), "k.hcl\n"+kid), but: []string{"../", ""},
			want: "invalid: Not a path: `run_workflow.source` of task a names a file: the path leads out of the workflow's folder. Files are read below it only: put the file there."},
		{play: withFile(starting("source = \"${run.id}.hcl\"", "", ""), "k.hcl\n"+kid), but: []string{"${run.id}", "k"},
			want: "invalid: Not a path: `run_workflow.source` of task a names a file: it is read when the workflow is submitted, once, so its path cannot depend on run.id. Write the path as text."},
	},
	"run_workflow: `params`": {
		{play: starting("name = \"k\"\nparams = { n = 5 }", "", kidOf(kidParam)), want: `succeeded {"params":{"n":{"v":5}},"workflow":"k"}`, but: []string{"n = 5", "n = 6"}},
		{play: starting("name = \"k\"\nparams = [5]", "", kidOf("")), but: []string{"[5]", "{}"},
			want: "invalid: Wrong value: `run_workflow.params` of task a must be params by name, such as { day = param.day }, not a list."},
	},
	"run_workflow: `version`": {
		{with: versioned("sha256:00000000"), without: versioned("HASH"), want: "invalid: Another version: Workflow k has the version HASH, and task a wants sha256:00000000. Write the beginning of the new one, or leave version out."},
		{with: versioned("sha256:0000"), without: versioned("HASH"),
			want: "invalid: Not a version: `run_workflow.version` of task a must be the beginning of a hash: sha256: and at least 8 of its digits. Workflow k has the version HASH."},
	},
	"run_workflow: outputs": {
		{play: also(play{flow: bare("a", childBody, "") + echo("b", "jsonencode(task.a.output.n)", ""), script: "a: exit 0 n={\"x\":1}", see: "a.out.n b.args"}, kid), want: `{"x":1} {"x":1}`, but: []string{`{"x":1}`, "7"}},
		{play: also(play{flow: bare("a", childBody, "") + echo("b", "task.a.output.m", ""), see: "b"}, kid), but: []string{"output.m", "output.n"},
			want: "invalid: Unknown output: task a has no output m. Its outputs are those of the workflow it runs: declare them there."},
	},
	"run_workflow: checked": {
		{play: starting("name = \"k\"", "", kidOf("task \"y\" {\n depends_on = [task.z]\n}")), but: []string{"task.z", "task.x"},
			want: "invalid: Unknown task: There is no task z in workflow k. There are x and y."},
		{play: starting("name = \"k\"\nparams = { m = 5 }", "", kidOf("param \"n\" {\n default = 1\n}")), but: []string{"m = 5", "n = 5"},
			want: "invalid: Unknown param: workflow k has no param m. There is only n."},
		{play: starting("name = \"k\"", "", kidOf(kidParam)), but: []string{"name = \"k\"", "name = \"k\"\nparams = { n = 5 }"},
			want: "invalid: Missing param: param n of workflow k is required and not given. Write params = { n = … } in run_workflow of task a."},
		{play: starting("name = \"k\"\nparams = { n = \"many\" }", "", kidOf(kidParam)), but: []string{"\"many\"", "5"},
			want: "invalid: Invalid param: param n of workflow k must be a number: a number is required."},
	},
	"run_workflow: pinned": {
		{with: loaded("w.hcl\nworkflow \"w\" {\n"+bare("a", "run_workflow {\n source = \"k\"\n}", "")+"}\n", "k/one.hcl\n"+kidOf("locals {\n t = file(\"t.txt\")\n}"), "k/t.txt\nx"),
			without: loaded("w.hcl\nworkflow \"w\" {\n"+bare("a", "run_workflow {\n source = \"k\"\n}", "")+"}\n", "k/one.hcl\n"+kid, "k/t.txt\nx"), want: "w.hcl (k/one.hcl) (k/t.txt)"},
		{with: identities(kid, kidOf("output \"m\" {\n value = 1\n}")), without: identities(kid, kid), want: "two definitions"},
	},
	"run_workflow: sensitive": {
		{with: givenTo("sensitive = true"), without: givenTo("sensitive = false"), want: "n=(sensitive) shout=(sensitive)"},
	},
	"run_workflow: status": {
		{play: also(play{flow: bare("a", childBody, ""), script: "a: skipped", see: "a"}, kid), want: "skipped", but: []string{"skipped", "failed"}},
		{play: also(play{flow: bare("a", childBody, ""), script: "a: failed", see: "a a.tries"}, kid), want: "failed failed", but: []string{"failed", "exit 0 n=1"}},
		{with: approved, without: rejected, want: "succeeded | succeeded "},
		{with: rejected, without: approved, want: "failed | failed run KID failed: task q failed: rejected by ann"},
		{with: lived(askingKid(""), decided(api.VerbStop, "")), without: approved, want: "failed | failed run KID was cancelled: stopped by ann"},
	},
	"run_workflow: retry policy": {{with: policy, without: byHand, want: "another run, in generation 1: succeeded"}},
	"run_workflow: retry verb":   {{with: byHand, without: policy, want: "the same run, in generation 2: succeeded"}},
	"run_workflow: cascade": {
		{with: stopped, without: terminated, want: "cancelled | finally succeeded"},
		{with: terminated, without: stopped, want: "cancelled | finally cancelled"},
		{with: paused, without: stopped, want: "paused | finally pending"},
		{with: resumed, without: paused, want: "paused | finally pending | running | finally pending"},
		{with: byHand, without: rejected, want: "the same run, in generation 2: succeeded"},
	},
	"run_workflow: active parent": active(),
	"run_workflow: depth": {
		{with: atDepth(32), without: atDepth(31), want: "starts nothing: failed, child runs nest at most 32 deep"},
	},
	"run_workflow: at a time": {
		{play: also(play{flow: bare("a", childBody, "count = 200"), script: "a: hang", see: "starts"}, kid), want: "128", but: []string{childBody, dispatchBody}},
	},
	"run_workflow: circle": {
		{play: starting("name = \"w\"", "", ""), want: `succeeded {"workflow":"w"}`, but: []string{"run_workflow {", "# none\n}\nconcurrency {\n max_runs = 1\n}\ntask \"b\" {\nrun_workflow {"}},
		{play: play{flow: "concurrency {\n max_runs = 1\n}\n" + bare("a", childBody, ""), also: kidOf(bare("y", "run_workflow {\n name = \"w\"\n}", "")), see: "a"}, but: []string{"concurrency {\n max_runs = 1\n}", ""},
			want: "invalid: Runs itself: workflow w runs itself (w -> k -> w) and has concurrency with max_runs: a run would wait for its own child. Take the call out, or max_runs."},
	},
	"run_workflow: registered": {
		{play: starting("name = \"elsewhere\"", "", kid), but: []string{"elsewhere", "k"},
			want: "invalid: Unknown workflow: No workflow elsewhere is declared in these files, only w or k. Workflows that are registered are resolved by a server; here, source = \"…\" names the file or folder that declares it."},
	},
}

// The stories of a parent and its child.
var (
	approved   = lived(askingKid(""), decided(api.VerbApprove, "q"))
	rejected   = lived(askingKid(""), decided(api.VerbReject, "q"))
	policy     = lived(askingKid(again), second(false))
	byHand     = lived(askingKid(""), second(true))
	stopped    = lived(askingKid(""), cascaded(api.VerbStop, "cancelled"))
	terminated = lived(askingKid(""), cascaded(api.VerbTerminate, "cancelled"))
	paused     = lived(askingKid(""), cascaded(api.VerbPause, "paused"))
	resumed    = lived(askingKid(""), func(l *live) {
		cascaded(api.VerbPause, "paused")(l)
		cascaded(api.VerbResume, "running")(l)
	})
)

func withFile(p play, files ...string) play {
	p.files = append(slices.Clip(p.files), files...)
	return p
}

func also(p play, text string) play {
	p.also = text
	return p
}

// versioned is why a child with that version is refused, with its hash as HASH, for which HASH stands in the version too.
func versioned(version string) func() string {
	return func() string {
		try := func(version string) string {
			p := withFile(starting("source = \"k.hcl\"\nversion = \""+version+"\"", "", ""), "k.hcl\n"+kid)
			if _, _, _, problem := p.compile(); problem != "" {
				return problem
			}
			return "valid"
		}
		_, hash, _ := strings.Cut(try("sha256:00000000"), "has the version ")
		hash, _, _ = strings.Cut(hash, ",")
		return strings.ReplaceAll(try(strings.ReplaceAll(version, "HASH", hash)), hash, "HASH")
	}
}

// identities tells whether the parents of two children are one definition.
func identities(one, other string) func() string {
	return func() string {
		hash := func(kid string) string {
			p := withFile(starting("source = \"k.hcl\"", "", ""), "k.hcl\n"+kid)
			def, _, _, problem := p.compile()
			if problem != "" {
				return problem
			}
			return def.Hash
		}
		if hash(one) == hash(other) {
			return "one definition"
		}
		return "two definitions"
	}
}

// givenTo tells what the params of a child are whose parent gives it one of its own. The child computes another from it.
func givenTo(param string) func() string {
	return func() string {
		p := starting("name = \"k\"\nparams = { n = param.p }", "", kidOf("param \"n\" {\n type = string\n}\nparam \"shout\" {\n default = \"${param.n}!\"\n}"))
		p.flow = "param \"p\" {\n type = string\n" + param + "\n}\n" + p.flow
		p.params, p.see = []string{"p=hi"}, "a.body"
		_, eval, _, problem := p.compile()
		if problem != "" {
			return problem
		}
		var body workflow.ChildBody
		if err := json.Unmarshal([]byte(p.outcome()), &body); err != nil {
			return "broken: " + err.Error()
		}
		child, _, err := eval.Child(body)
		if err != nil {
			return "broken: " + err.Error()
		}
		params, diags := hcl.Params(child, hcl.GivenByParent(body.Params), workflow.RunValues{})
		if diags.HasErrors() {
			return said(diags)
		}
		return "n=" + shown(params["n"]) + " shout=" + shown(params["shout"])
	}
}

// atDepth tells what a run that lies so deep in others does with a task that runs one more.
func atDepth(depth int) func() string {
	return func() string {
		p := starting("name = \"k\"", "", kid)
		def, eval, _, problem := p.compile()
		if problem != "" {
			return problem
		}
		m, err := engine.New(def, eval)
		if err != nil {
			return "broken: " + err.Error()
		}
		now := workflow.At(start)
		s := m.NewState(engine.Input{
			Run: workflow.NewRunID(start, [6]byte{}), Workflow: "w", Definition: def.Hash, Namespace: "default", CreatedAt: now, ScheduledAt: now, Depth: depth,
		})
		begun := "starts nothing"
		for _, c := range m.Step(s, engine.Event{Kind: engine.Begin, At: now, Epoch: 1}) {
			if c.Kind == engine.StartAttempt {
				begun = fmt.Sprintf("starts a run at depth %d", c.Start.Depth)
			}
		}
		return fmt.Sprintf("%s: %s, %s", begun, s.Tasks[0].Status, s.Tasks[0].Reason)
	}
}

const again = "retry {\n max_attempts = 2\n delay = \"0s\"\n}"

// askingKid are two workflows, of which one runs the other, which asks somebody. more stands in the task that does.
func askingKid(more string) []string {
	const end = "finally \"f\" {}\n"
	return []string{
		"w.hcl\nworkflow \"w\" {\n" + bare("a", "run_workflow {\n source = \"k.hcl\"\n}", more) + end + "}\n",
		"k.hcl\nworkflow \"k\" {\n" + bare("q", "approval {}", "") + end + "}\n",
	}
}

// decided lets somebody use a verb on the child run, and tells how the parent ends.
func decided(verb api.Verb, task string) func(*live) {
	return func(l *live) {
		kid := l.child(l.top, 1)
		l.asks(kid)
		l.use(kid, verb, task)
		top := l.until(l.top, (*api.Run).Terminal)
		l.see(top.Status)
		if l.err == nil {
			a := newest(top)
			l.see(a.Verdict + " " + strings.ReplaceAll(a.Message, kid, "KID"))
		}
	}
}

// second tells which run the second attempt of the parent has, after the first one was rejected.
func second(verb bool) func(*live) {
	return func(l *live) {
		kid := l.child(l.top, 1)
		l.asks(kid)
		l.use(kid, api.VerbReject, "q")
		if verb {
			l.until(l.top, (*api.Run).Terminal)
			l.use(l.top, api.VerbRetry, "")
		}
		next := l.child(l.top, 2)
		l.asks(next)
		which := "another"
		if next == kid {
			which = "the same"
		}
		generation := l.until(next, func(*api.Run) bool { return true }).Generation
		l.use(next, api.VerbApprove, "q")
		l.see(fmt.Sprintf("%s run, in generation %d: %s", which, generation, l.until(l.top, (*api.Run).Terminal).Status))
	}
}

// cascaded uses a verb on the parent, waits until the child is in that status too, and tells of the child's finally.
func cascaded(verb api.Verb, status string) func(*live) {
	return func(l *live) {
		kid := l.child(l.top, 1)
		l.asks(kid)
		l.use(l.top, verb, "")
		l.is(status, l.top)
		run := l.until(kid, func(r *api.Run) bool { return r.Status == status })
		if l.err == nil {
			l.see("finally " + run.Tasks[len(run.Tasks)-1].Status)
		}
	}
}

// active checks what a child run takes while its parent goes on.
func active() []check {
	tried := func(verb api.Verb, task string) func() string {
		return lived(askingKid(""), func(l *live) {
			kid := l.child(l.top, 1)
			l.asks(kid)
			l.use(kid, verb, task)
			if len(l.seen) == 0 {
				l.see("taken: " + l.until(kid, (*api.Run).Terminal).Status)
			}
		})
	}
	const only = "run THIS was started by run TOP, which is not over: until then it takes only stop, terminate, approve and reject; what is used on run TOP reaches this one too"
	pause, approve := tried(api.VerbPause, ""), tried(api.VerbApprove, "q")
	return []check{
		{with: pause, without: approve, want: only},
		{with: tried(api.VerbSkip, "q"), without: approve, want: only},
		{with: tried(api.VerbCancel, "q"), without: approve, want: only},
		{with: approve, without: pause, want: "taken: succeeded"},
		{with: tried(api.VerbReject, "q"), without: pause, want: "taken: failed"},
		{with: tried(api.VerbStop, ""), without: pause, want: "taken: cancelled"},
		{with: tried(api.VerbTerminate, ""), without: pause, want: "taken: cancelled"},
	}
}
