// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"slices"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Skip and succeed by hand. On a run under way they act at once; on one that is over they are kept as Given.Next, and act
// when a retry resets what they are about.

var (
	byHandActive = []workflow.Status{workflow.Pending, workflow.Queued, workflow.Waiting, workflow.Failed}
	byHandOver   = []workflow.Status{workflow.Failed, workflow.Cancelled, workflow.Omitted}
)

// handStatus is what a verb makes of its target.
func (k EventKind) handStatus() workflow.Status {
	if k == SkipTask {
		return workflow.Skipped
	}
	return workflow.Succeeded
}

// givenOf is what is decided by hand about a target already.
func (s *State) givenOf(tg target) *Given {
	ts := s.Tasks[tg.n]
	if tg.i < 0 {
		return ts.Given
	}
	if in := s.record(tg); in != nil && in.Given != nil {
		return in.Given
	}
	return ts.Ahead[tg.i]
}

func (m *Machine) fitsByHand(s *State, e Event, tg target) (due bool, err error) {
	over, want := s.Head.Status.Terminal(), e.Kind.handStatus()
	ts, task := s.Tasks[tg.n], &m.def.Tasks[tg.n]
	fits := byHandActive
	if over {
		fits = byHandOver
	}
	switch g := s.givenOf(tg); {
	case tg.status == want, g != nil && g.Status == want && e.Kind == SkipTask:
		return false, nil
	case !slices.Contains(fits, tg.status):
		return false, tg.unfit(e.Kind, fits)
	case e.Kind == SucceedTask && tg.i < 0 && task.Shape() != workflow.ShapePlain && !ts.Expanded:
		return false, misfit("%s is fanned out and its instances are not known yet; skip it, or wait until it begins", tg.what)
	case !over && s.Head.Ending == EndingSkip:
		return false, misfit("run %s is being skipped", s.Input.Run)
	}
	for _, i := range s.tasks[tg.n].waiting.sorted() {
		if in := s.Instances[tg.n][i]; in.Current != nil && (tg.i < 0 || tg.i == i) {
			if err := m.mayDecide(tg, in, e); err != nil {
				return false, err
			}
		}
	}
	if !over && tg.status == workflow.Failed {
		switch {
		case tg.i < 0:
			err = m.mayResetUnderWay(s, tg, e.Kind)
		case ts.Status.Terminal():
			err = misfit("%s is over (%s); use the verb on the whole task, or on the instance once the run is over", "task "+task.Name, ts.Status)
		case ts.Rest != "" || ts.Cancelling != "":
			err = misfit("task %s is ending, as it cannot succeed any more; use the verb once the task is over", task.Name)
		}
		if err != nil {
			return false, err
		}
	}
	if _, err := m.handOutputs(s, e, tg); err != nil {
		return false, &Misfit{err.Error()}
	}
	return true, nil
}

// handOutputs are the outputs that somebody gives, in the types of the task.
func (m *Machine) handOutputs(s *State, e Event, tg target) (map[string]workflow.Value, error) {
	if e.Kind == SkipTask {
		return nil, nil
	}
	for _, o := range m.def.Tasks[tg.n].Outputs {
		if _, ok := e.Values[o.Name]; !ok && o.Default == nil && o.From != workflow.FromBody {
			return nil, misfit("output %s of %s is missing, and it has no default", o.Name, m.def.Tasks[tg.n].Name)
		}
	}
	return m.typed(s, tg.n, "output", e.Values)
}

// byHand is the verbs skip and succeed.
func (t *turn) byHand() {
	m, s := t.m, t.s
	tg, err := m.target(s, t.e)
	if err != nil {
		return // Fits has said so
	}
	outputs, err := m.handOutputs(s, t.e, tg)
	if err != nil {
		return
	}
	g := &Given{Status: t.e.Kind.handStatus(), Outputs: outputs, Next: s.Head.Status.Terminal()}
	if g.Why = t.who("taken for succeeded by hand"); t.e.Kind == SkipTask {
		g.Why = t.who("skipped by hand")
	}
	if tg.i >= 0 {
		t.giveInstance(tg, g)
		return
	}
	ts := s.Tasks[tg.n]
	s.outputBytes += outputSize(outputs) - ts.givenSize()
	ts.Given = g
	s.dirty.task(tg.n)
	switch {
	case g.Next:
	case tg.status == workflow.Failed:
		g.Next = true
		t.startReset(Resetting{Task: tg.n})
	default:
		s.work.add(tg.n)
	}
}

// giveInstance decides one instance of a fan-out by hand.
func (t *turn) giveInstance(tg target, g *Given) {
	s := t.s
	ts, in := s.Tasks[tg.n], s.record(tg)
	switch {
	case in == nil, ts.Status == workflow.Pending: // it acts when the instance is about to begin
		if ts.Ahead == nil {
			ts.Ahead = map[int]*Given{}
		}
		ts.Ahead[tg.i] = g
		s.dirty.task(tg.n)
		s.work.add(tg.n)
	case g.Next:
		in.Given = g
		s.dirty.instance(tg.n, tg.i)
	default:
		if in.Current != nil {
			t.endOwn(tg.n, tg.i, workflow.VerdictCancelled, g.Why, nil)
		}
		in.Given = g
		s.outputBytes += outputSize(g.Outputs)
		t.settleInstance(tg.n, tg.i, g.Status, g.Why)
	}
}

func (ts *TaskState) givenSize() int {
	if ts.Given == nil {
		return 0
	}
	return outputSize(ts.Given.Outputs)
}
