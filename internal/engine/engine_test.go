// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestAChainRunsToItsEnd(t *testing.T) {
	w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{task("a"), task("b", "a"), task("c", "b")}})
	w.run()
	if w.s.Head.Status != workflow.RunSucceeded {
		t.Fatalf("run is %s (%s), want succeeded", w.s.Head.Status, w.s.Head.Reason)
	}
}

func TestAReloadedStateWaitsForTheSame(t *testing.T) {
	fan := task("fan")
	fan.Count = expr("300")
	fan.Policy.MaxParallel = 7
	retry := task("retry")
	retry.Policy.Retry.MaxAttempts = 3
	w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{fan, retry, task("last", "fan", "retry")}})
	w.settle()
	w.end(w.attempt("retry", 0, 1), 1)
	if got := w.status("retry"); got != workflow.Waiting {
		t.Fatalf("retry is %s, want waiting", got)
	}
	before := w.m.Outstanding(w.s)
	w.reload()
	if diff := cmp.Diff(before, w.m.Outstanding(w.s)); diff != "" {
		t.Errorf("outstanding before and after a reload (-before +after):\n%s", diff)
	}
	w.tick(20 * time.Second)
	if _, ok := w.starts[w.attempt("retry", 0, 2)]; !ok {
		t.Error("the second try was not started after the backoff")
	}
	w.run()
	if w.s.Head.Status != workflow.RunSucceeded {
		t.Fatalf("run is %s (%s), want succeeded", w.s.Head.Status, w.s.Head.Reason)
	}
}

func TestAStoppedFanOutSaysWhatEndedIt(t *testing.T) {
	fan := task("fan")
	fan.Count = expr("3")
	w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{fan}})
	w.settle()
	w.step(engine.Event{Kind: engine.Stop, By: "ada"})
	for i := range 3 { // all of them run, so none is left that the stop itself could end
		w.step(engine.Event{Kind: engine.Ended, Attempt: w.attempt("fan", i, 1), Outcome: &engine.Outcome{Kind: engine.OutcomeKilled}})
	}
	if got := w.s.Tasks[0]; got.Status != workflow.Cancelled || got.Reason != "run stopped" {
		t.Errorf("the task is %s (%s), want cancelled (run stopped)", got.Status, got.Reason)
	}
}

func TestTriggerRules(t *testing.T) {
	type row struct {
		rule       workflow.TriggerRule
		codes      []int // exit code of each predecessor
		want       workflow.Status
		afterFirst workflow.Status // once only the first one ended
	}
	for _, r := range []row{
		{workflow.AllSuccess, []int{0, 0}, workflow.Starting, workflow.Pending},
		{workflow.AllSuccess, []int{1, 0}, workflow.Omitted, workflow.Omitted},
		{workflow.NoneFailed, []int{0, 0}, workflow.Starting, workflow.Pending},
		{workflow.NoneFailed, []int{1, 0}, workflow.Omitted, workflow.Omitted},
		{workflow.AllDone, []int{1, 0}, workflow.Starting, workflow.Pending},
		{workflow.OneSuccess, []int{0, 1}, workflow.Starting, workflow.Starting},
		{workflow.OneSuccess, []int{1, 1}, workflow.Omitted, workflow.Pending},
		{workflow.OneFailed, []int{1, 0}, workflow.Starting, workflow.Starting},
		{workflow.OneFailed, []int{0, 0}, workflow.Skipped, workflow.Pending},
		{workflow.AllFailed, []int{1, 1}, workflow.Starting, workflow.Pending},
		{workflow.AllFailed, []int{0, 1}, workflow.Skipped, workflow.Skipped},
	} {
		t.Run(fmt.Sprintf("%s over exit codes %v", r.rule, r.codes), func(t *testing.T) {
			last := task("last", "a", "b")
			last.TriggerRule = r.rule
			w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{task("a"), task("b"), last}})
			w.settle()
			w.end(w.attempt("a", 0, 1), r.codes[0])
			if got := w.status("last"); got != r.afterFirst {
				t.Errorf("after the first: %s, want %s", got, r.afterFirst)
			}
			w.end(w.attempt("b", 0, 1), r.codes[1])
			if got := w.status("last"); got != r.want {
				t.Errorf("after both: %s, want %s", got, r.want)
			}
		})
	}
}

func TestAStopKillsAndFinallyStillRuns(t *testing.T) {
	final := task("report")
	final.Kind = workflow.KindFinally
	w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{task("a"), task("b", "a"), final}})
	w.settle()
	w.step(engine.Event{Kind: engine.Stop, By: "ada"})
	id := w.attempt("a", 0, 1)
	if _, ok := w.kills[id]; !ok {
		t.Fatal("the running attempt is not being killed")
	}
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeKilled}})
	w.run()
	for name, want := range map[string]workflow.Status{"a": workflow.Cancelled, "b": workflow.Cancelled, "report": workflow.Succeeded} {
		if got := w.status(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if w.s.Head.Status != workflow.RunCancelled || w.s.Head.Reason != "stopped by ada" {
		t.Errorf("run is %s (%s), want cancelled (stopped by ada)", w.s.Head.Status, w.s.Head.Reason)
	}
}

func TestALateEventChangesNoVerdict(t *testing.T) {
	w := newWorld(t, &workflow.Definition{Name: "w", Tasks: []workflow.Task{task("a"), task("b", "a")}})
	w.settle()
	w.end(w.attempt("a", 0, 1), 0)
	w.end(w.attempt("a", 0, 1), 1)
	if got := w.status("a"); got != workflow.Succeeded {
		t.Errorf("a is %s, want succeeded", got)
	}
}

func wide(n int) *workflow.Definition {
	def := &workflow.Definition{Name: "w"}
	for i := range n {
		def.Tasks = append(def.Tasks, task(fmt.Sprintf("t%d", i)))
	}
	return def
}

func chain(n int) *workflow.Definition {
	def := &workflow.Definition{Name: "w"}
	for i := range n {
		if i == 0 {
			def.Tasks = append(def.Tasks, task("t0"))
			continue
		}
		def.Tasks = append(def.Tasks, task(fmt.Sprintf("t%d", i), fmt.Sprintf("t%d", i-1)))
	}
	return def
}

func TestLargeGraphsEnd(t *testing.T) {
	fan := task("fan")
	fan.Count = expr("20000")
	for name, def := range map[string]*workflow.Definition{
		"10,000 independent tasks": wide(10000),
		"a chain of 10,000 tasks":  chain(10000),
		"20,000 instances":         {Name: "w", Tasks: []workflow.Task{fan}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, def)
			w.run()
			if w.s.Head.Status != workflow.RunSucceeded {
				t.Fatalf("run is %s (%s), want succeeded", w.s.Head.Status, w.s.Head.Reason)
			}
			if _, err := w.m.EncodeDirty(w.s); err != nil {
				t.Fatal(err)
			}
		})
	}
}
