// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// losing is a run of one task whose attempt runs on a worker.
func losing(t *testing.T, mode workflow.WorkerLossMode) (*world, workflow.AttemptID) {
	a := task("a")
	a.Policy.OnWorkerLoss.Mode = mode
	w := newWorld(t, flow(a))
	w.settle()
	id := w.attempt("a", 0, 1)
	w.step(engine.Event{Kind: engine.Accepted, Attempt: id, Index: 7})
	w.step(engine.Event{Kind: engine.Started, Attempt: id, Place: engine.Place{Node: "n1", AllocID: "x"}})
	return w, id
}

func TestASuspicionEndsOnlyWhatMayOverlap(t *testing.T) {
	for mode, heeds := range map[workflow.WorkerLossMode]bool{workflow.Immediate: true, workflow.WaitForStop: false} {
		w, id := losing(t, mode)
		e := engine.Event{Kind: engine.WorkerLost, Attempt: id, Message: "Consul has lost it", Place: engine.Place{Node: "n1"}}
		due, err := w.m.Fits(w.s, e)
		var misfit *engine.Misfit
		if due != heeds || heeds != (err == nil) || !heeds && !errors.As(err, &misfit) {
			t.Errorf("%s: the suspicion is due: %v, %v", mode, due, err)
		}
		w.step(e)
		if w.kills[id] != nil != heeds {
			t.Errorf("%s: it is being killed: %v, want %v", mode, w.kills[id] != nil, heeds)
		}
		// A person is sure.
		e.By = "ada"
		w.step(e)
		if start := w.kills[id]; start == nil || !start.WorkerLost || start.Place.Node != "n1" {
			t.Fatalf("%s: the word of a person leads to the kill %+v", mode, start)
		}
		if due, err := w.m.Fits(w.s, e); due || err != nil {
			t.Errorf("%s: the same once more is due: %v, %v", mode, due, err)
		}
		w.reload()
		w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeKilled}})
		in := w.s.Instances[0][0]
		if past := in.Past[0]; past.Verdict != workflow.VerdictLost || past.Message != "Consul has lost it" || in.Losses != 1 || in.Tries != 0 {
			t.Errorf("%s: the attempt is %s: %s; losses %d, tries %d", mode, past.Verdict, past.Message, in.Losses, in.Tries)
		}
		w.stands("run running: a waiting")
	}
}

func TestALossIsOfTheWorkerThatTheAttemptIsOn(t *testing.T) {
	w, id := losing(t, workflow.Immediate)
	lost := engine.Event{Kind: engine.WorkerLost, By: "ada", Place: engine.Place{Node: "n2"}}
	for attempt, text := range map[workflow.AttemptID]string{
		id: "is not on worker n2", workflow.MakeAttemptID(w.s.Input.Run, 4, 0, 1): "has no attempt", "nonsense": "has no attempt",
	} {
		lost.Attempt = attempt
		if _, err := w.m.Fits(w.s, lost); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the loss of another worker for %s: %v, want …%s…", attempt, err, text)
		}
		w.step(lost)
	}
	if len(w.kills) != 0 {
		t.Errorf("it is being killed: %v", w.kills)
	}
	// An attempt that has ended is not lost any more.
	w.end(id, 0)
	lost.Attempt, lost.Place.Node = id, "n1"
	w.step(lost)
	w.stands("run succeeded: a succeeded")
}

func TestWhatHadToLeaveItsWorkerUsesUpNoTry(t *testing.T) {
	w, id := losing(t, workflow.WaitForStop)
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeEvicted, Message: "drained"}})
	in := w.s.Instances[0][0]
	if past := in.Past[0]; past.Verdict != workflow.VerdictInterrupted || in.Losses != 1 || in.Tries != 0 {
		t.Errorf("the attempt is %s; losses %d, tries %d", past.Verdict, in.Losses, in.Tries)
	}
	w.tick(time.Minute)
	w.settle()
	w.end(w.attempt("a", 0, 2), 0)
	w.stands("run succeeded: a succeeded")

	w, id = losing(t, workflow.WaitForStop)
	w.step(engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeInterrupted, Message: "stopped"}})
	w.stands("run failed: a failed")
}
