// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// evaluator understands a few words: JSON stands for itself, "status:x" is the status of task x, "out:x.y" its output y,
// "sum:x.y" the outputs y of its instances as an object by key, "each" the instance's value, "number" the attempt's number,
// and "error" fails. A conversion to "number" takes numbers only, any other gives its input.
type evaluator struct{}

func (evaluator) Evaluate(x workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	if x.Kind == workflow.ExprConvert {
		var f float64
		if x.Text == "number" && json.Unmarshal(scope.Input.JSON, &f) != nil {
			return workflow.Value{}, fmt.Errorf("a number is required, not %s", scope.Input.JSON)
		}
		return *scope.Input, nil
	}
	if path, ok := strings.CutPrefix(x.Text, "out:"); ok {
		task, output, _ := strings.Cut(path, ".")
		return scope.Shared.Tasks[task].Instances[0].Outputs[output], nil
	}
	if path, ok := strings.CutPrefix(x.Text, "sum:"); ok {
		task, output, _ := strings.Cut(path, ".")
		all := map[string]json.RawMessage{}
		for _, in := range scope.Shared.Tasks[task].Instances {
			all[in.Key] = in.Outputs[output].JSON
			if len(all[in.Key]) == 0 {
				all[in.Key] = json.RawMessage("null")
			}
		}
		b, err := json.Marshal(all)
		return workflow.Value{JSON: b}, err
	}
	if x.Text == "each" {
		return scope.Each.Value, nil
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
	finish bool
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
	if e.Kind == engine.Tick && w.wake <= w.now {
		w.wake = 0
	}
	for _, c := range w.m.Step(w.s, e) {
		switch c.Kind {
		case engine.Finish:
			w.finish = true
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
	if len(w.starts)+len(w.wants) < 50 && len(w.s.Tasks) < 50 {
		w.compare(e)
	}
}

// compare holds what was issued and not answered against what the engine says is outstanding.
func (w *world) compare(e engine.Event) {
	w.t.Helper()
	starts, kills, wants := map[workflow.AttemptID]*engine.Start{}, map[workflow.AttemptID]*engine.Start{}, 0
	more, wake := false, workflow.Time(0)
	for _, c := range w.m.Outstanding(w.s) {
		switch c.Kind {
		case engine.StartAttempt:
			starts[c.Attempt] = c.Start
		case engine.KillAttempt:
			kills[c.Attempt] = c.Start
		case engine.Want:
			wants++
		case engine.Proceed:
			more = true
		case engine.WakeAt:
			wake = c.At
		}
	}
	got := []any{starts, kills, wants, more, wake}
	want := []any{w.starts, w.kills, len(w.wants), w.more, w.wake}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(engine.Start{}, "IntentAt", "Accepted", "Place")); diff != "" {
		w.t.Errorf("after %s: outstanding is not what was issued (-issued +outstanding):\n%s", e.Kind, diff)
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
	w.compare(engine.Event{Kind: "reload"})
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

// verb uses a verb on a task, or on the run when name is empty, and lets follow what needs no executor.
func (w *world) verb(e engine.Event, name string) {
	w.t.Helper()
	w.at(&e, name)
	if due, err := w.m.Fits(w.s, e); err != nil || !due {
		w.t.Fatalf("%s %s: fits says %t, %v", e.Kind, name, due, err)
	}
	w.step(e)
	w.settle()
}

func (w *world) at(e *engine.Event, name string) {
	if name == "" {
		return
	}
	n, ok := w.m.Graph().Number(name)
	if !ok {
		w.t.Fatalf("no task %s", name)
	}
	e.Task = n
}

// refuses holds that a verb does not fit, with a sentence that holds text, and that Step drops it.
func (w *world) refuses(e engine.Event, name, text string) {
	w.t.Helper()
	w.at(&e, name)
	due, err := w.m.Fits(w.s, e)
	var misfit *engine.Misfit
	if !errors.As(err, &misfit) || due || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s %s: fits says %t, %v; want a misfit with %q", e.Kind, name, due, err, text)
	}
	before := w.statuses()
	w.step(e)
	if got := w.statuses(); got != before {
		w.t.Errorf("%s %s does not fit and changed %s to %s", e.Kind, name, before, got)
	}
}

// done holds that what a verb asks for is done already.
func (w *world) done(e engine.Event, name string) {
	w.t.Helper()
	w.at(&e, name)
	if due, err := w.m.Fits(w.s, e); err != nil || due {
		w.t.Errorf("%s %s: fits says %t, %v; want it to be done already", e.Kind, name, due, err)
	}
}

// statuses is the run and its tasks in one line: "run running: a succeeded, fan running[s f p]".
func (w *world) statuses() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s:", w.s.Head.Status)
	for n, ts := range w.s.Tasks {
		def := &w.m.Definition().Tasks[n]
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s %s", def.Name, ts.Status)
		if def.Shape() == workflow.ShapePlain || !ts.Expanded {
			continue
		}
		var letters []string
		for position := range ts.Size {
			i := w.m.NumberAt(w.s, n, position)
			letters = append(letters, fmt.Sprintf("%s%d%.1s", w.m.Key(w.s, n, i), i, w.m.InstanceStatus(w.s, n, i)))
		}
		fmt.Fprintf(&b, "%v", letters)
	}
	return b.String()
}

func (w *world) stands(want string) {
	w.t.Helper()
	if got := w.statuses(); got != want {
		w.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// gives ends an attempt well, with outputs in its file.
func (w *world) gives(id workflow.AttemptID, file string) {
	zero := 0
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &zero, Output: []byte(file)}})
	w.settle()
}

// killed reports every kill that was asked for as done.
func (w *world) killed() {
	for len(w.kills) > 0 {
		for id := range w.kills {
			w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeKilled}})
			w.settle()
		}
	}
}

// output declares an output of a type.
func output(name, typ string, from workflow.OutputFrom) workflow.Output {
	return workflow.Output{Name: name, From: from, Type: workflow.Expr{Kind: workflow.ExprConvert, Text: typ}}
}

// bodied is a task with a body of a kind, as JSON.
func bodied(name string, kind workflow.BodyKind, body string, depends ...string) workflow.Task {
	t := task(name, depends...)
	t.BodyKind, t.Body = kind, &workflow.Expr{Kind: workflow.ExprBody, Text: body}
	return t
}

func flow(tasks ...workflow.Task) *workflow.Definition {
	return &workflow.Definition{Name: "w", Tasks: tasks}
}

func final(t workflow.Task) workflow.Task {
	t.Kind = workflow.KindFinally
	return t
}
