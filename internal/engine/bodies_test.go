// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// approval is a task that ada or bob may approve with a number of rows.
func approval(name, body string, depends ...string) workflow.Task {
	t := bodied(name, workflow.BodyApproval, body, depends...)
	t.Outputs = []workflow.Output{
		output("rows", "number", workflow.FromBody), output("by", "string", workflow.FromBody), output("comment", "string", workflow.FromBody),
	}
	return t
}

func (w *world) written(name string, i int) map[string]string {
	n, ok := w.m.Graph().Number(name)
	if !ok {
		w.t.Fatalf("no task %s", name)
	}
	out := map[string]string{}
	for k, v := range w.m.Written(w.s, n, i) {
		out[k] = string(v.JSON)
	}
	return out
}

func (w *world) verdicts(name string, i int) string {
	n, ok := w.m.Graph().Number(name)
	if !ok {
		w.t.Fatalf("no task %s", name)
	}
	var out []string
	for _, a := range w.s.Instances[n][i].Past {
		out = append(out, fmt.Sprintf("%d.%d %s (%s)", a.Generation, a.Number, a.Verdict, a.Message))
	}
	return strings.Join(out, ", ")
}

func rows(json_ string) map[string]workflow.Value {
	return map[string]workflow.Value{"rows": {JSON: json.RawMessage(json_)}}
}

func TestAnApprovalWaitsForSomebodyWhoMayDecide(t *testing.T) {
	ask := approval("ask", `{"approvers": ["ada", "bob"], "on_timeout": "reject"}`)
	w := newWorld(t, flow(ask, task("b", "ask")))
	w.settle()
	w.stands("run running: ask waiting, b pending")
	if len(w.starts)+len(w.wants) > 0 {
		t.Fatal("an approval was handed out")
	}
	w.refuses(engine.Event{Kind: engine.Approve, By: "eve", Values: rows("1")}, "ask", "task ask waits for ada or bob; eve may not decide it")
	w.refuses(engine.Event{Kind: engine.Approve, Values: rows("1")}, "ask", "nobody in particular may not decide it")
	w.refuses(engine.Event{Kind: engine.SkipTask, By: "eve", Instance: -1}, "ask", "eve may not decide it")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada"}, "ask", "input rows of ask is missing, and it has no default")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada", Values: rows("null")}, "ask", "input rows of ask is null, and it has no default")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada", Values: rows(`"many"`)}, "ask", "input rows of ask: a number is required")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada", Values: map[string]workflow.Value{"by": {JSON: []byte(`"bob"`)}}}, "ask", "ask has no input by")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada", Values: rows("1")}, "b", "task b is no approval")
	w.reload()
	w.verb(engine.Event{Kind: engine.Approve, By: "ada", Reason: "looks right", Values: rows("7")}, "ask")
	if got := fmt.Sprint(w.written("ask", 0)); got != `map[by:"ada" comment:"looks right" rows:7]` {
		t.Errorf("outputs are %s", got)
	}
	if got := w.verdicts("ask", 0); got != "1.1 succeeded (approved by ada: looks right)" {
		t.Errorf("attempts: %s", got)
	}
	w.done(engine.Event{Kind: engine.Approve, By: "bob", Values: rows("1")}, "ask")
	w.refuses(engine.Event{Kind: engine.Reject, By: "bob"}, "ask", "task ask is decided (approved by ada: looks right)")
	w.run()
	w.stands("run succeeded: ask succeeded, b succeeded")
}

func TestARejectedApprovalFailsAndIsNotRetried(t *testing.T) {
	ask := approval("ask", `{}`)
	ask.Policy.Retry.MaxAttempts = 5
	w := newWorld(t, flow(ask, task("b", "ask")))
	w.settle()
	w.verb(engine.Event{Kind: engine.Reject, By: "ada", Reason: "too many"}, "ask")
	w.stands("run failed: ask failed, b omitted")
	if got := w.verdicts("ask", 0); got != "1.1 failed (rejected by ada: too many)" {
		t.Errorf("attempts: %s", got)
	}
	w.done(engine.Event{Kind: engine.Reject, By: "ada"}, "ask")
	w.refuses(engine.Event{Kind: engine.Approve, By: "ada", Values: rows("1")}, "ask", "is decided (rejected by ada: too many)")
	w.verb(engine.Event{Kind: engine.Retry}, "")
	w.step(engine.Event{Kind: engine.Begin})
	w.settle()
	w.stands("run running: ask waiting, b pending") // asked anew
}

func TestAnApprovalThatNobodyGives(t *testing.T) {
	for _, row := range []struct {
		name, body, want, verdict string
		byDefault                 bool
	}{
		{"is rejected", `{"timeout": 60000000000, "on_timeout": "reject"}`, "run failed: ask failed", "1.1 failed (nobody decided within 1m0s)", true},
		{"is approved with its defaults", `{"timeout": 60000000000, "on_timeout": "approve"}`, "run succeeded: ask succeeded",
			"1.1 succeeded (approved: nobody decided within 1m0s)", true},
		{"cannot be approved without a default", `{"timeout": 60000000000, "on_timeout": "approve"}`, "run failed: ask failed",
			"1.1 failed (nobody decided within 1m0s, and it cannot be approved: input rows of ask is missing, and it has no default)", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			ask := approval("ask", row.body)
			if row.byDefault {
				ask.Outputs[0].Default = &workflow.Value{JSON: []byte("3")}
			}
			w := newWorld(t, flow(ask))
			w.settle()
			w.tick(59 * time.Second)
			w.stands("run running: ask waiting")
			w.reload()
			w.tick(time.Second)
			w.stands(row.want)
			if got := w.verdicts("ask", 0); got != row.verdict {
				t.Errorf("attempts: %s", got)
			}
		})
	}
}

func TestABodyThatMeansNothingFailsItsTask(t *testing.T) {
	for body, want := range map[string]string{
		`{"on_timeout": "maybe"}`: "`approval`: on_timeout must be \"reject\" or \"approve\", not \"maybe\"",
		`{"timeout": -1}`:         "`approval`: the timeout -1ns is negative",
		`[]`:                      "`approval` cannot be read",
	} {
		w := newWorld(t, flow(approval("ask", body)))
		w.settle()
		w.stands("run failed: ask failed")
		if got := w.s.Tasks[0].Reason; !strings.Contains(got, want) || len(w.s.Instances[0][0].Past) > 0 {
			t.Errorf("%s: the reason is %q, want one with %q and no attempt", body, got, want)
		}
	}
}

func TestWaitsEndByThemselves(t *testing.T) {
	until := bodied("until", workflow.BodyWait, fmt.Sprintf(`{"until": %d}`, workflow.At(time.Date(2026, 1, 31, 2, 0, 30, 0, time.UTC))))
	past := bodied("past", workflow.BodyWait, `{"until": 1000}`)
	long := bodied("long", workflow.BodyWait, `{"duration": 60000000000}`)
	w := newWorld(t, flow(until, past, long, task("last", "long")))
	w.settle()
	w.stands("run running: until waiting, past succeeded, long waiting, last pending")
	w.tick(30 * time.Second)
	w.stands("run running: until succeeded, past succeeded, long waiting, last pending")
	// A timer that is running runs on through a pause, and what it leads to does not start.
	w.verb(engine.Event{Kind: engine.Pause}, "")
	w.stands("run paused: until succeeded, past succeeded, long waiting, last pending")
	w.tick(30 * time.Second)
	w.stands("run paused: until succeeded, past succeeded, long succeeded, last pending")
	w.verb(engine.Event{Kind: engine.Resume}, "")
	w.run()
	w.stands("run succeeded: until succeeded, past succeeded, long succeeded, last succeeded")
}

func TestWhatWaitsIsCancelledWithAVerdict(t *testing.T) {
	for _, kind := range []engine.EventKind{engine.Stop, engine.Terminate, engine.CancelTask} {
		long := bodied("long", workflow.BodyWait, `{"duration": 60000000000}`)
		long.Count = expr("3")
		w := newWorld(t, flow(long, final(task("report"))))
		w.settle()
		w.verb(engine.Event{Kind: kind, Instance: -1, By: "ada"}, "long")
		for i := range 3 {
			if got := w.verdicts("long", i); !strings.HasPrefix(got, "1.1 cancelled") {
				t.Errorf("%s: attempts of %d: %s", kind, i, got)
			}
		}
		w.run()
		if got := w.status("long"); got != workflow.Cancelled {
			t.Errorf("%s: the wait is %s, want cancelled", kind, got)
		}
	}
}

func TestAnApprovalIsAnsweredInAPause(t *testing.T) {
	ask := approval("ask", `{}`)
	w := newWorld(t, flow(ask, task("b", "ask")))
	w.settle()
	w.verb(engine.Event{Kind: engine.Pause}, "")
	w.stands("run paused: ask waiting, b pending")
	w.verb(engine.Event{Kind: engine.Approve, By: "ada", Values: rows("1")}, "ask")
	w.stands("run paused: ask succeeded, b pending")
}

func TestWhatNeedsNoMachineIsNotCounted(t *testing.T) {
	call := bodied("call", workflow.BodyHTTP, `{"method": "GET", "url": "http://x"}`)
	call.Count = expr("4")
	call.Policy.MaxParallel = 2
	child := bodied("child", workflow.BodyRunWorkflow, `{}`)
	child.Count = expr("3")
	def := flow(call, child, bodied("pause", workflow.BodyWait, `{"duration": 1000000000}`), task("a"), task("b"))
	def.MaxParallel = 2
	w := newWorld(t, def)
	w.settle()
	// Two calls by their own bound; two children fill the run's, so a and b wait.
	w.stands("run running: call running[00s 11s 22p 33p], child running[00s 11s 22p], pause waiting, a queued, b queued")
	for id, s := range w.starts {
		if s.Kind == workflow.BodyHTTP && s.Child != "" || s.Kind == workflow.BodyRunWorkflow && s.Child != workflow.ChildRunID(id) {
			t.Errorf("%s has the child %q", id, s.Child)
		}
	}
}

func TestACallGivesWhatItsBodyDeclares(t *testing.T) {
	call := bodied("call", workflow.BodyHTTP, `{}`)
	call.Outputs = []workflow.Output{output("status", "number", workflow.FromBody), output("json", "any", workflow.FromBody)}
	call.Policy.Retry.MaxAttempts = 2
	w := newWorld(t, flow(call))
	w.settle()
	id := w.attempt("call", 0, 1)
	if s := w.starts[id]; s.Kind != workflow.BodyHTTP || s.WantOutput || s.WantStdout {
		t.Errorf("the start is %+v", s)
	}
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeFailed, Message: "answered 500"}})
	w.stands("run running: call waiting")
	w.tick(time.Minute)
	zero := 0
	w.step(engine.Event{Kind: engine.Ended, Attempt: w.attempt("call", 0, 2), Outcome: &engine.Outcome{
		Kind: engine.OutcomeExited, ExitCode: &zero,
		Values: map[string]workflow.Value{"status": {JSON: []byte("200")}, "json": {}, "more": {JSON: []byte("1")}},
	}})
	w.stands("run succeeded: call succeeded")
	if got := fmt.Sprint(w.written("call", 0)); got != "map[status:200]" {
		t.Errorf("outputs are %s", got)
	}
	if got := w.verdicts("call", 0); got != "1.1 failed (answered 500), 1.2 succeeded ()" {
		t.Errorf("attempts: %s", got)
	}
}

func childWorld(t *testing.T) *world {
	child := bodied("child", workflow.BodyRunWorkflow, `{"source": "x"}`)
	child.Outputs = []workflow.Output{output("total", "any", workflow.FromBody)}
	child.Policy.Retry.MaxAttempts = 2
	w := newWorld(t, flow(child, task("b", "child")))
	w.settle()
	return w
}

func TestAChildRunIsAnAttempt(t *testing.T) {
	w := childWorld(t)
	id := w.attempt("child", 0, 1)
	first := *w.starts[id]
	if first.Child != workflow.ChildRunID(id) || first.ChildGeneration != 1 || first.Depth != 1 || first.Hold || len(w.wants) > 0 {
		t.Fatalf("the child is started as %+v with %d wants", first, len(w.wants))
	}
	if got := w.m.ChildOf(w.s, 0, 0); got != first.Child {
		t.Errorf("its child is %s, want %s", got, first.Child)
	}
	// A retry by policy starts another child.
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeFailed, Message: "run x failed"}})
	w.tick(time.Minute)
	second := *w.starts[w.attempt("child", 0, 2)]
	if second.Child == first.Child || second.ChildGeneration != 1 {
		t.Fatalf("the second child is %+v", second)
	}
	w.step(engine.Event{Kind: engine.Ended, Attempt: w.attempt("child", 0, 2), Outcome: &engine.Outcome{Kind: engine.OutcomeFailed, Message: "run y failed"}})
	w.stands("run failed: child failed, b omitted")
	// A retry by hand takes up the child of the attempt before.
	w.verb(engine.Event{Kind: engine.Retry}, "")
	w.step(engine.Event{Kind: engine.Begin})
	third := *w.starts[w.attempt("child", 0, 3)]
	if third.Child != second.Child || third.ChildGeneration != 2 || third.Generation != 2 {
		t.Fatalf("the third attempt has the child %+v, want %s in generation 2", third, second.Child)
	}
	zero := 0
	w.step(engine.Event{Kind: engine.Ended, Attempt: third.Attempt, Outcome: &engine.Outcome{
		Kind: engine.OutcomeExited, ExitCode: &zero, Values: map[string]workflow.Value{"total": {JSON: []byte("9")}},
	}})
	w.run()
	w.stands("run succeeded: child succeeded, b succeeded")
	if got := fmt.Sprint(w.written("child", 0)); got != "map[total:9]" {
		t.Errorf("outputs are %s", got)
	}
}

func TestAChildThatWasSkipped(t *testing.T) {
	w := childWorld(t)
	w.step(engine.Event{Kind: engine.Ended, Attempt: w.attempt("child", 0, 1), Outcome: &engine.Outcome{Kind: engine.OutcomeSkipped}})
	w.run()
	w.stands("run succeeded: child skipped, b succeeded")
}

func TestAChildIsHeldWithItsParent(t *testing.T) {
	w := childWorld(t)
	id := w.attempt("child", 0, 1)
	w.step(engine.Event{Kind: engine.Started, Attempt: id})
	w.step(engine.Event{Kind: engine.ChildPaused, Attempt: id}) // nobody asked
	w.verb(engine.Event{Kind: engine.Pause}, "")
	if !w.starts[id].Hold || w.s.Head.Status != workflow.RunPausing {
		t.Fatalf("hold is %t, the run is %s", w.starts[id].Hold, w.s.Head.Status)
	}
	w.step(engine.Event{Kind: engine.ChildPaused, Attempt: id})
	w.step(engine.Event{Kind: engine.ChildPaused, Attempt: id})
	w.stands("run paused: child running, b pending")
	w.reload()
	w.verb(engine.Event{Kind: engine.Resume}, "")
	if w.starts[id].Hold {
		t.Error("the child is still to be paused")
	}
	w.verb(engine.Event{Kind: engine.Pause}, "")
	w.stands("run pausing: child running, b pending") // of this pause nothing is known yet
	w.step(engine.Event{Kind: engine.ChildPaused, Attempt: id})
	w.step(engine.Event{Kind: engine.ChildResumed, Attempt: id})
	// A stop leaves the child its finally, a terminate does not.
	w.verb(engine.Event{Kind: engine.Stop}, "")
	if k := w.kills[id]; k == nil || k.Hold || k.Terminate {
		t.Fatalf("the kill is %+v", k)
	}
	w.verb(engine.Event{Kind: engine.Terminate}, "")
	if k := w.kills[id]; k == nil || !k.Terminate {
		t.Fatalf("the kill is %+v", k)
	}
	w.killed()
	w.stands("run cancelled: child cancelled, b cancelled")
}

func TestChildRunsAreBounded(t *testing.T) {
	child := bodied("child", workflow.BodyRunWorkflow, `{}`)
	child.Count = expr("300")
	w := newWorld(t, flow(child))
	w.settle()
	if len(w.starts) != 128 || len(w.wants) != 0 {
		t.Errorf("%d children are in flight, want 128", len(w.starts))
	}
	m, err := engine.New(flow(bodied("child", workflow.BodyRunWorkflow, `{}`)), evaluator{})
	if err != nil {
		t.Fatal(err)
	}
	s := m.NewState(engine.Input{Run: w.s.Input.Run, Depth: workflow.MaxRunDepth})
	m.Step(s, engine.Event{Kind: engine.Begin, At: w.now})
	if s.Tasks[0].Status != workflow.Failed || s.Tasks[0].Reason != "child runs nest at most 32 deep" {
		t.Errorf("at the depth limit the task is %s (%s)", s.Tasks[0].Status, s.Tasks[0].Reason)
	}
}
