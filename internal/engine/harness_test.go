// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// evaluator understands four words: JSON stands for itself, "status:x" is the status of task x, "number" the attempt's
// number, and "error" fails. Conversions give their input.
type evaluator struct{}

func (evaluator) Evaluate(x workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	if x.Kind == workflow.ExprConvert {
		return *scope.Input, nil
	}
	switch name, isStatus := strings.CutPrefix(x.Text, "status:"); {
	case x.Text == "error":
		return workflow.Value{}, fmt.Errorf("w.hcl:1: no value")
	case x.Text == "number":
		return workflow.Value{JSON: json.RawMessage(strconv.Itoa(scope.Attempt.Number))}, nil
	case isStatus:
		return workflow.Value{JSON: json.RawMessage(strconv.Quote(string(scope.Shared.Tasks[name].Status)))}, nil
	}
	return workflow.Value{JSON: json.RawMessage(x.Text)}, nil
}

func expr(text string) *workflow.Expr { return &workflow.Expr{Kind: workflow.ExprValue, Text: text} }

// task returns a plain task under all_success.
func task(name string, depends ...string) workflow.Task {
	return workflow.Task{
		Name: name, Kind: workflow.KindTask, DependsOn: depends, TriggerRule: workflow.AllSuccess, WhenFalse: workflow.WhenFalseSkip,
		Policy: workflow.DefaultPolicy(), BodyKind: workflow.BodyTask, Body: &workflow.Expr{Kind: workflow.ExprBody, Text: "{}"},
	}
}

// world drives one run by hand: it remembers what is outstanding and checks that the engine says the same.
type world struct {
	t     testing.TB
	m     *engine.Machine
	s     *engine.State
	now   workflow.Time
	saved map[string][]byte

	starts map[workflow.AttemptID]*engine.Start
	kills  map[workflow.AttemptID]*engine.Start
	wants  [][2]int
	wake   workflow.Time
	more   bool
	steps  int
}

func newWorld(t testing.TB, def *workflow.Definition) *world {
	t.Helper()
	if def.OnFailure == "" {
		def.OnFailure = workflow.OnFailureContinue
	}
	m, err := engine.New(def, evaluator{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, m: m, now: workflow.At(time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)), saved: map[string][]byte{},
		starts: map[workflow.AttemptID]*engine.Start{}, kills: map[workflow.AttemptID]*engine.Start{},
	}
	w.s = m.NewState(engine.Input{Run: workflow.NewRunID(w.now.Time(), [6]byte{}), Workflow: def.Name, CreatedAt: w.now})
	w.step(engine.Event{Kind: engine.Begin})
	return w
}

func (w *world) step(e engine.Event) {
	e.At = w.now
	w.steps++
	w.more = false
	for _, c := range w.m.Step(w.s, e) {
		switch c.Kind {
		case engine.StartAttempt:
			w.starts[c.Attempt] = c.Start
		case engine.KillAttempt:
			delete(w.starts, c.Attempt)
			w.kills[c.Attempt] = c.Start
		case engine.Want:
			w.wants = append(w.wants, [2]int{c.Task, c.Instance})
		case engine.Withdraw:
			for i, x := range w.wants {
				if x == [2]int{c.Task, c.Instance} {
					w.wants = append(w.wants[:i:i], w.wants[i+1:]...)
					break
				}
			}
		case engine.WakeAt:
			w.wake = c.At
		case engine.Proceed:
			w.more = true
		case engine.Settle:
			delete(w.starts, c.Attempt)
			delete(w.kills, c.Attempt)
		}
	}
}

// settle lets everything happen that needs no executor.
func (w *world) settle() {
	for w.more || len(w.wants) > 0 {
		if w.more {
			w.step(engine.Event{Kind: engine.Continue})
			continue
		}
		x := w.wants[0]
		w.wants = w.wants[1:]
		w.step(engine.Event{Kind: engine.Admit, Task: x[0], Instance: x[1]})
	}
}

// reload saves the state and goes on with what was saved, as a new leader would.
func (w *world) reload() {
	w.t.Helper()
	records, err := w.m.EncodeDirty(w.s)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		w.saved[r.Key] = r.Value
	}
	all := make([]engine.Record, 0, len(w.saved))
	for k, v := range w.saved {
		all = append(all, engine.Record{Key: k, Value: v})
	}
	if w.s, err = w.m.Load(all); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) attempt(name string, instance, number int) workflow.AttemptID {
	n, ok := w.m.Graph().Number(name)
	if !ok {
		w.t.Fatalf("no task %s", name)
	}
	return workflow.MakeAttemptID(w.s.Input.Run, n, instance, number)
}

// end reports the end of an attempt by exit code.
func (w *world) end(id workflow.AttemptID, code int) {
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &code}})
	w.settle()
}

func (w *world) tick(d time.Duration) {
	w.now = w.now.Add(d)
	w.step(engine.Event{Kind: engine.Tick})
	w.settle()
}

func (w *world) status(name string) workflow.Status {
	n, ok := w.m.Graph().Number(name)
	if !ok {
		w.t.Fatalf("no task %s", name)
	}
	return w.s.Tasks[n].Status
}

// run ends every attempt with success until nothing is left to do.
func (w *world) run() {
	w.settle()
	for len(w.starts) > 0 {
		for id := range w.starts {
			w.end(id, 0)
		}
	}
}
