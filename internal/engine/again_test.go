// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// again retries the run by hand and begins it.
func (w *world) again() {
	w.t.Helper()
	w.verb(engine.Event{Kind: engine.Retry, By: "ada"}, "")
	if w.s.Head.Status != workflow.RunQueued {
		w.t.Fatalf("after a retry the run is %s, want queued", w.s.Head.Status)
	}
	w.step(engine.Event{Kind: engine.Begin})
	w.settle()
}

func (w *world) plan(e engine.Event) string {
	w.t.Helper()
	plan, err := w.m.RetryPlan(w.s, e)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(plan)
}

func TestARetryRunsWhatFailedAndEverythingBelow(t *testing.T) {
	skipped := task("skipped", "good")
	skipped.When = expr("false")
	rollback := task("rollback", "bad")
	rollback.TriggerRule = workflow.OneFailed
	def := flow(task("good"), task("bad"), skipped, rollback, task("below", "bad"), final(task("report")))
	def.Outputs = []workflow.RunOutput{{Name: "x", Value: *expr("1")}}
	def.Timeout = time.Hour
	w := newWorld(t, def)
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.run()
	w.stands("run failed: good succeeded, bad failed, skipped skipped, rollback succeeded, below omitted, report succeeded")
	if got, want := w.plan(engine.Event{Kind: engine.Retry}), "[{bad 1} {rollback 1} {below 1} {report 1}]"; got != want {
		t.Errorf("the plan is %s, want %s", got, want)
	}
	w.tick(2 * time.Hour)
	w.again()
	w.stands("run running: good succeeded, bad starting, skipped skipped, rollback pending, below pending, report pending")
	h := w.s.Head
	if h.Generation != 2 || h.Reason != "" || h.Verdict != "" || h.FinallyBegun || h.Outputs != nil || h.StartedAt != w.now || h.EndedAt != 0 {
		t.Errorf("the head of the new generation is %+v", h)
	}
	w.tick(59 * time.Minute) // the run's timeout counts anew
	if _, ok := w.starts[w.attempt("bad", 0, 2)]; !ok {
		t.Fatal("the second attempt of bad does not run")
	}
	w.run()
	w.stands("run succeeded: good succeeded, bad succeeded, skipped skipped, rollback skipped, below succeeded, report succeeded")
	if got := w.verdicts("report", 0); got != "1.1 succeeded (), 2.2 succeeded ()" {
		t.Errorf("attempts of report: %s", got)
	}
	w.refuses(engine.Event{Kind: engine.Retry}, "", "is succeeded; retry is for runs that are failed, cancelled or skipped")
	w.done(engine.Event{Kind: engine.Retry, Generation: 2}, "")
}

func TestARetryKeepsTheInstancesThatSucceeded(t *testing.T) {
	fan := task("fan")
	fan.Count = expr("4")
	fan.Policy.Retry.MaxAttempts = 2
	fan.Policy.Retry.Delay = 0
	w := newWorld(t, flow(fan, task("b", "fan")))
	w.settle()
	w.end(w.attempt("fan", 1, 1), 1)
	w.tick(time.Second)
	w.end(w.attempt("fan", 1, 2), 1)
	w.run()
	w.stands("run failed: fan failed[00s 11f 22s 33s], b omitted")
	w.reload()
	w.again()
	w.stands("run running: fan running[00s 11s 22s 33s], b pending") // 1 is starting
	if len(w.starts) != 1 || w.starts[w.attempt("fan", 1, 3)] == nil {
		t.Fatalf("what runs again is %v, want attempt 3 of instance 1", w.starts)
	}
	w.end(w.attempt("fan", 1, 3), 1) // tries count anew
	w.tick(time.Second)
	w.run()
	w.stands("run succeeded: fan succeeded[00s 11s 22s 33s], b succeeded")
	if got := w.verdicts("fan", 1); !strings.HasPrefix(got, "1.1 failed (exit code 1), 1.2 failed (exit code 1), 2.3 failed (exit code 1), 2.4 succ") {
		t.Errorf("attempts: %s", got)
	}
}

func TestAnExpansionIsKeptUnlessWhatItReadsWasReset(t *testing.T) {
	list := task("list")
	list.Outputs = []workflow.Output{output("m", "any", workflow.FromFile)}
	fan := task("fan")
	fan.ForEach, fan.Refs, fan.ExpandRefs = expr("out:list.m"), []string{"list"}, []string{"list"}
	w := newWorld(t, flow(list, fan))
	w.settle()
	w.gives(w.attempt("list", 0, 1), `{"m": {"a": 1, "b": 1}}`)
	w.end(w.attempt("fan", 0, 1), 0)
	w.end(w.attempt("fan", 1, 1), 1)
	w.reload()
	if got, want := w.plan(engine.Event{Kind: engine.Retry}), "[{fan 1}]"; got != want {
		t.Errorf("the plan is %s, want %s", got, want)
	}
	w.again()
	if len(w.starts) != 1 || w.starts[w.attempt("fan", 1, 2)] == nil {
		t.Fatalf("what runs again is %v, want attempt 2 of instance 1", w.starts)
	}
	w.run()
	w.stands("run succeeded: list succeeded, fan succeeded[a0s b1s]")
}

// reexpand is a run whose fan-out failed in part, and that was retried: what it is expanded over is reset with the gate above
// it, and gives something else. With extra, a task that only follows the gate is above the fan-out too.
func reexpand(t *testing.T, second string, extra ...string) *world {
	list := task("list")
	list.TriggerRule = workflow.AllDone
	list.DependsOn = []string{"gate"}
	list.Outputs = []workflow.Output{output("m", "any", workflow.FromFile)}
	fan := task("fan", extra...)
	fan.ForEach, fan.Refs, fan.ExpandRefs = expr("out:list.m"), []string{"list"}, []string{"list"}
	fan.Outputs = []workflow.Output{output("n", "any", workflow.FromFile)}
	last := task("last")
	last.Refs, last.Body.Text = []string{"fan"}, "sum:fan.n"
	def := flow(task("gate"), list, fan, last)
	if len(extra) > 0 {
		side := task("side", "gate")
		side.TriggerRule = workflow.AllDone
		def = flow(task("gate"), side, list, fan, last)
	}
	w := newWorld(t, def)
	w.settle()
	w.end(w.attempt("gate", 0, 1), 1)
	if len(extra) > 0 {
		w.gives(w.attempt("side", 0, 1), "")
	}
	w.gives(w.attempt("list", 0, 1), `{"m": {"a": 1, "b": 1, "c": 1, "d": 1}}`)
	for i := range 3 {
		w.gives(w.attempt("fan", i, 1), fmt.Sprintf("n=%d", i))
	}
	w.end(w.attempt("fan", 3, 1), 1)
	if got, want := w.statuses(), "fan failed[a0s b1s c2s d3f], last omitted"; !strings.HasSuffix(got, want) {
		t.Fatalf("at first: %s, want %s", got, want)
	}
	w.again()
	w.gives(w.attempt("gate", 0, 2), "")
	w.gives(w.attempt("list", 0, 2), second)
	return w
}

func TestAnExpansionAnewKeepsNumbersAndResults(t *testing.T) {
	// a stays, b has another value, c is gone, d failed and stays, e and 0 are new.
	w := reexpand(t, `{"m": {"0": 1, "a": 1, "b": 2, "d": 1, "e": 1}}`)
	w.stands("run running: gate succeeded, list succeeded, fan running[04s a0s b5s d3s e6s], last pending")
	started := map[string]int{}
	for id, s := range w.starts {
		started[s.Key] = s.Number
		if _, n, i, number, err := id.Parse(); err != nil || n != 2 || i != s.Instance || number != s.Number {
			t.Errorf("%s is %+v", id, s)
		}
	}
	if diff := cmp.Diff(map[string]int{"0": 1, "b": 1, "d": 2, "e": 1}, started); diff != "" {
		t.Errorf("started attempts by key (-want +got):\n%s", diff)
	}
	w.reload()
	for _, i := range []int{3, 4, 5, 6} {
		number := 1
		if i == 3 {
			number = 2
		}
		w.gives(w.attempt("fan", i, number), fmt.Sprintf("n=%d", 10*i))
	}
	w.stands("run running: gate succeeded, list succeeded, fan succeeded[04s a0s b5s d3s e6s], last starting")
	if got, want := string(w.starts[w.attempt("last", 0, 1)].Body), `{"0":"40","a":"0","b":"50","d":"30","e":"60"}`; got != want {
		t.Errorf("last reads %s, want %s", got, want)
	}
	if position, seen := w.m.Position(w.s, 2, 2); seen {
		t.Errorf("the instance that left the view is at %d", position)
	}
	w.reload()
	w.run()
	w.stands("run succeeded: gate succeeded, list succeeded, fan succeeded[04s a0s b5s d3s e6s], last succeeded")
}

func TestAnotherEdgeRunsEveryInstanceAgain(t *testing.T) {
	w := reexpand(t, `{"m": {"b": 1, "z": 1}}`, "side")
	w.stands("run running: gate succeeded, side starting, list succeeded, fan pending[a0p b1p c2p d3p], last pending")
	w.gives(w.attempt("side", 0, 2), "")
	w.stands("run running: gate succeeded, side succeeded, list succeeded, fan running[b1s z4s], last pending")
	if w.starts[w.attempt("fan", 1, 2)] == nil || w.starts[w.attempt("fan", 4, 1)] == nil {
		t.Errorf("what runs is %v, want attempt 2 of b and attempt 1 of z", w.starts)
	}
}

func TestAnExpansionAnewThatIsEmpty(t *testing.T) {
	w := reexpand(t, `{"m": {}}`)
	w.run()
	w.stands("run succeeded: gate succeeded, list succeeded, fan skipped[], last succeeded")
}

func TestARetryOfManyGoesOnOverACrash(t *testing.T) {
	fan := task("fan")
	fan.Count = expr("5000")
	fan.Policy.MinSuccess.Number = 1
	def := chain(1500)
	for n := range def.Tasks {
		def.Tasks[n].BodyKind, def.Tasks[n].Body = workflow.BodyJoin, nil
	}
	def.Tasks = append(def.Tasks, fan)
	gate := task("gate")
	def.Tasks = append(def.Tasks, gate)
	def.Tasks[0].DependsOn = []string{"gate"}
	w := newWorld(t, def)
	w.settle()
	w.end(w.attempt("gate", 0, 1), 1)
	for len(w.starts) > 0 {
		for id := range w.starts {
			_, _, i, _, _ := id.Parse()
			w.end(id, i%2)
		}
	}
	if w.s.Head.Status != workflow.RunFailed || w.status("fan") != workflow.Succeeded || w.status("t1499") != workflow.Omitted {
		t.Fatalf("the run is %s, fan %s, the last of the chain %s", w.s.Head.Status, w.status("fan"), w.status("t1499"))
	}
	w.reload()
	w.step(engine.Event{Kind: engine.Retry})
	w.step(engine.Event{Kind: engine.Begin})
	steps := 0
	for w.s.Head.Resetting != nil {
		if steps++; steps > 100 {
			t.Fatal("the reset does not end")
		}
		w.reload() // as if every step were the last of its leader
		w.step(engine.Event{Kind: engine.Continue})
	}
	if steps < 5 {
		t.Fatalf("the reset took %d steps, want several", steps)
	}
	counts := w.m.Counts(w.s, 1500)
	if counts[workflow.Succeeded] != 2500 {
		t.Errorf("fan has %v, want 2500 instances that keep their results", counts)
	}
	w.run()
	if w.s.Head.Status != workflow.RunSucceeded || w.status("t1499") != workflow.Succeeded {
		t.Errorf("the run is %s (%s), the last of the chain %s", w.s.Head.Status, w.s.Head.Reason, w.status("t1499"))
	}
	for i, in := range w.s.Instances[1500] {
		if want := 1 + i%2; in.Number != want {
			t.Fatalf("instance %d had %d attempts, want %d", i, in.Number, want)
		}
	}
}

func TestOneTaskIsRetriedWhileTheRunGoesOn(t *testing.T) {
	handler := task("handler", "bad")
	handler.TriggerRule = workflow.OneFailed
	slow := task("slow")
	w := newWorld(t, flow(task("bad"), task("below", "bad"), handler, slow, final(task("report"))))
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.stands("run running: bad failed, below omitted, handler starting, slow starting, report pending")
	w.refuses(engine.Event{Kind: engine.RetryTask, Instance: -1}, "bad", "task handler, downstream of task bad, is starting; wait for it or cancel it, then use task retry")
	w.refuses(engine.Event{Kind: engine.RetryTask, Instance: -1}, "slow", "task slow is starting; task retry is for what is failed, cancelled or omitted")
	w.refuses(engine.Event{Kind: engine.Retry}, "", "is running; retry is for runs that are failed, cancelled or skipped")
	w.end(w.attempt("handler", 0, 1), 0)
	if got, want := w.plan(engine.Event{Kind: engine.RetryTask, Instance: -1}), "[{bad 1} {below 1} {handler 1}]"; got != want {
		t.Errorf("the plan is %s, want %s", got, want)
	}
	w.verb(engine.Event{Kind: engine.RetryTask, Instance: -1, By: "ada"}, "bad")
	w.stands("run running: bad starting, below pending, handler pending, slow starting, report pending")
	if got := w.starts[w.attempt("slow", 0, 1)].Generation; got != 1 || w.s.Head.Generation != 2 {
		t.Errorf("what ran before is of generation %d, the run of %d", got, w.s.Head.Generation)
	}
	w.done(engine.Event{Kind: engine.RetryTask, Instance: -1, Generation: 2}, "bad")
	w.reload()
	w.run()
	w.stands("run succeeded: bad succeeded, below succeeded, handler skipped, slow succeeded, report succeeded")
	if got := w.verdicts("slow", 0); got != "1.1 succeeded ()" {
		t.Errorf("attempts of slow: %s", got)
	}
}

func TestOneTaskIsNotRetriedOnceTheRunEnds(t *testing.T) {
	def := flow(task("bad"), task("slow"))
	def.OnFailure = workflow.OnFailureDrain
	w := newWorld(t, def)
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.refuses(engine.Event{Kind: engine.RetryTask, Instance: -1}, "bad", "is ending (drain); use task retry once it is over")
	w = newWorld(t, flow(task("bad"), final(task("report"))))
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.refuses(engine.Event{Kind: engine.RetryTask, Instance: -1}, "bad", "finally has begun in run")
	w.run()
	w.verb(engine.Event{Kind: engine.RetryTask, Instance: -1}, "bad")
	w.step(engine.Event{Kind: engine.Begin, Generation: 1}) // a late one
	w.stands("run queued: bad pending, report pending")
	w.step(engine.Event{Kind: engine.Begin, Generation: 2})
	w.run()
	w.stands("run succeeded: bad succeeded, report succeeded")
}

func TestATaskRetryLeavesOtherFailuresAlone(t *testing.T) {
	w := newWorld(t, flow(task("one"), task("two"), task("below", "one")))
	w.settle()
	w.end(w.attempt("one", 0, 1), 1)
	w.end(w.attempt("two", 0, 1), 1)
	w.verb(engine.Event{Kind: engine.RetryTask, Instance: -1}, "one")
	w.step(engine.Event{Kind: engine.Begin})
	w.run()
	w.stands("run failed: one succeeded, two failed, below succeeded")
}

func TestByHandOnARunThatIsOver(t *testing.T) {
	bad := task("bad")
	bad.Outputs = []workflow.Output{output("rows", "number", workflow.FromFile)}
	below := task("below", "bad")
	below.Refs, below.Body.Text = []string{"bad"}, "out:bad.rows"
	fan := task("fan")
	fan.Count = expr("3")
	w := newWorld(t, flow(bad, below, fan))
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.end(w.attempt("fan", 0, 1), 0)
	w.end(w.attempt("fan", 1, 1), 1)
	w.end(w.attempt("fan", 2, 1), 1)
	w.stands("run failed: bad failed, below omitted, fan failed[00s 11f 22f]")
	w.refuses(engine.Event{Kind: engine.SucceedTask, Instance: -1}, "bad", "output rows of bad is missing, and it has no default")
	w.refuses(engine.Event{Kind: engine.SucceedTask, Instance: -1, Values: rows(`"x"`)}, "bad", "a number is required")
	w.refuses(engine.Event{Kind: engine.SkipTask, Instance: 0}, "fan", `instance "0" of task fan is succeeded; task skip is for what is failed, cancelled or omitted`)
	w.verb(engine.Event{Kind: engine.SucceedTask, Instance: -1, By: "ada", Reason: "counted", Values: rows("7")}, "bad")
	w.verb(engine.Event{Kind: engine.SkipTask, Instance: 1, By: "ada"}, "fan")
	w.done(engine.Event{Kind: engine.SkipTask, Instance: 1, By: "ada"}, "fan")
	w.stands("run failed: bad failed, below omitted, fan failed[00s 11f 22f]")
	if got, want := w.plan(engine.Event{Kind: engine.Retry}), "[{below 1} {fan 1}]"; got != want {
		t.Errorf("the plan is %s, want %s", got, want)
	}
	w.reload()
	w.again()
	w.stands("run running: bad succeeded, below starting, fan running[00s 11s 22s]")
	if got := string(w.starts[w.attempt("below", 0, 1)].Body); got != "7" || w.s.Tasks[0].Reason != "taken for succeeded by hand by ada: counted" {
		t.Errorf("below reads %s; the reason is %q", got, w.s.Tasks[0].Reason)
	}
	w.end(w.attempt("below", 0, 1), 1)
	w.run()
	w.stands("run failed: bad succeeded, below failed, fan succeeded[00s 11s 22s]")
	w.reload()
	w.again() // what was decided by hand stays decided where nothing resets it
	w.run()
	w.stands("run succeeded: bad succeeded, below succeeded, fan succeeded[00s 11s 22s]")
	if got := w.verdicts("bad", 0); got != "1.1 failed (exit code 1)" {
		t.Errorf("attempts of bad: %s", got)
	}
	verbs := []string{}
	for _, v := range w.s.Head.Verbs {
		verbs = append(verbs, strings.TrimSpace(fmt.Sprintf("%s %s %s", v.Kind, v.Task, v.Key)))
	}
	if diff := cmp.Diff([]string{"succeed_task bad", "skip_task fan 1", "retry", "retry"}, verbs); diff != "" {
		t.Errorf("recorded verbs (-want +got):\n%s", diff)
	}
}

func TestByHandOnARunUnderWay(t *testing.T) {
	bad := task("bad")
	bad.Outputs = []workflow.Output{output("rows", "number", workflow.FromFile)}
	below := task("below", "bad")
	below.Refs, below.Body.Text = []string{"bad"}, "out:bad.rows"
	fan := task("fan")
	fan.Count, fan.Policy.MaxParallel = expr("4"), 1
	fan.Policy.MinSuccess.Number = 2
	w := newWorld(t, flow(bad, below, task("later", "fan"), fan, task("after", "later")))
	w.settle()
	w.end(w.attempt("bad", 0, 1), 1)
	w.stands("run running: bad failed, below omitted, later pending, fan running[00s 11p 22p 33p], after pending")
	w.refuses(engine.Event{Kind: engine.SkipTask, Instance: -1}, "below", "task below is omitted; task skip is for what is pending, queued, waiting or failed")
	w.verb(engine.Event{Kind: engine.SkipTask, Instance: -1}, "later")
	w.verb(engine.Event{Kind: engine.SucceedTask, Instance: -1, Values: rows("3")}, "bad")
	w.verb(engine.Event{Kind: engine.SkipTask, Instance: 2}, "fan")
	w.stands("run running: bad succeeded, below starting, later skipped, fan running[00s 11p 22p 33p], after starting")
	w.end(w.attempt("fan", 0, 1), 1)
	w.reload()
	w.verb(engine.Event{Kind: engine.SucceedTask, Instance: 0}, "fan")
	w.run()
	w.stands("run succeeded: bad succeeded, below succeeded, later skipped, fan succeeded[00s 11s 22s 33s], after succeeded")
	if got := w.s.Instances[3][2].Status; got != workflow.Skipped {
		t.Errorf("instance 2 is %s, want skipped", got)
	}
}

func TestARunThatNeverBeginsIsSkipped(t *testing.T) {
	m, err := engine.New(flow(task("a"), task("b", "a"), final(task("f"))), evaluator{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, flow(task("a"), task("b", "a"), final(task("f"))))
	w.m, w.s = m, m.NewState(w.s.Input)
	w.wants = nil
	w.verb(engine.Event{Kind: engine.SkipRun, Reason: "max_runs = 1"}, "")
	w.stands("run skipped: a omitted, b omitted, f omitted")
	if !w.finish || w.s.Head.Reason != "max_runs = 1" {
		t.Errorf("finish %t, reason %q", w.finish, w.s.Head.Reason)
	}
	w.done(engine.Event{Kind: engine.SkipRun}, "")
	w.again()
	w.refuses(engine.Event{Kind: engine.SkipRun}, "", "is running; skip is for runs that are queued")
	w.run()
	w.stands("run succeeded: a succeeded, b succeeded, f succeeded")
}
