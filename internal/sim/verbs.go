// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"errors"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// answer is what becomes of a verb.
type answer string

const (
	verbDue   answer = "due"
	verbDone  answer = "done already"
	verbUnfit answer = "unfit"
)

// verbTable is the table of verbs of the semantics: the statuses in which each fits, and those in which it is done.
var verbTable = map[engine.EventKind][2][]workflow.RunStatus{
	engine.Stop:      {{"queued", "running", "pausing", "paused"}, {"stopping", "cancelled"}},
	engine.Terminate: {{"queued", "running", "pausing", "paused", "stopping"}, {"cancelled"}},
	engine.Pause:     {{"running"}, {"pausing", "paused"}},
	engine.Resume:    {{"pausing", "paused"}, {"running"}},
	engine.Retry:     {{"failed", "cancelled", "skipped"}, nil},
	engine.SkipRun:   {{"queued"}, {"skipped"}},
}

var taskTable = map[engine.EventKind][]workflow.Status{
	engine.CancelTask:  {"queued", "waiting", "starting", "running"},
	engine.RetryTask:   {"failed", "cancelled", "omitted"},
	engine.SkipTask:    {"pending", "queued", "waiting", "failed"},
	engine.SucceedTask: {"pending", "queued", "waiting", "failed"},
}

// isVerb tells what people do from what happens.
func isVerb(k engine.EventKind) bool {
	_, run := verbTable[k]
	_, task := taskTable[k]
	return run || task || k == engine.Approve || k == engine.Reject
}

// checkFits holds the engine's word on a verb against the table, and that Step does what it says.
func (j *judge) checkFits(e engine.Event) (due bool) {
	w := j.w
	due, err := w.machine.Fits(j.s, e)
	got := verbDone
	var misfit *engine.Misfit
	switch {
	case err != nil && !errors.As(err, &misfit):
		w.fail("%s: %v is no misfit", describe(w, e), err)
	case err != nil:
		if got = verbUnfit; due || err.Error() == "" {
			w.fail("%s is due and does not fit: %v", describe(w, e), err)
		}
	case due:
		got = verbDue
	}
	if want := w.fits(j.s, e); len(want) > 0 && !slices.Contains(want, got) {
		w.fail("%s on a run that is %s: fits says %s (%v), want %v; tasks:%s", describe(w, e), j.s.Head.Status, got, err, want, describeTasks(w, j.s))
	}
	w.stats.hit("verb " + string(e.Kind) + " " + string(got))
	return got == verbDue
}

// fits is what the semantics make of a verb; more than one answer, or none, where they leave it open.
func (w *world) fits(s *engine.State, e engine.Event) []answer {
	h := &s.Head
	if h.Ending == engine.EndingSkip && !h.Status.Terminal() {
		return nil
	}
	if rule, ok := verbTable[e.Kind]; ok {
		switch {
		case e.Kind == engine.Terminate && h.Terminated:
			return []answer{verbDone}
		case e.Kind == engine.SkipRun && h.Generation > 1 && h.Status == workflow.RunQueued:
			return []answer{verbUnfit}
		case e.Kind == engine.Retry && e.Generation != 0 && e.Generation <= h.Generation:
			return []answer{verbDone}
		case slices.Contains(rule[0], h.Status):
			return []answer{verbDue}
		case slices.Contains(rule[1], h.Status):
			return []answer{verbDone}
		}
		return []answer{verbUnfit}
	}
	if e.Task < 0 || e.Task >= len(s.Tasks) {
		return []answer{verbUnfit}
	}
	return w.fitsTask(s, e)
}

// fitsTask is the part of the table about tasks and instances.
func (w *world) fitsTask(s *engine.State, e engine.Event) []answer {
	h, t, def := &s.Head, s.Tasks[e.Task], &w.def.Tasks[e.Task]
	whole := e.Instance < 0 || def.Shape() == workflow.ShapePlain && e.Instance == 0
	st := t.Status
	if !whole {
		if !t.Expanded || positionOf(s, e.Task, e.Instance) < 0 {
			return []answer{verbUnfit}
		}
		st = instanceStatus(s, e.Task, e.Instance)
	}
	fits := taskTable[e.Kind]
	switch e.Kind {
	case engine.Approve, engine.Reject:
		return w.fitsDecision(s, e, whole)
	case engine.CancelTask:
		if slices.Contains(fits, st) {
			return []answer{verbDue, verbDone} // done when it is being ended
		}
		if st == workflow.Cancelled {
			return []answer{verbDone}
		}
		return []answer{verbUnfit}
	case engine.RetryTask:
		switch {
		case e.Generation != 0 && e.Generation <= h.Generation:
			return []answer{verbDone}
		case !whole || !slices.Contains(fits, st):
			return []answer{verbUnfit}
		case h.Status.Terminal():
			return []answer{verbDue}
		}
		return w.fitsUnderWay(s, e.Task)
	}
	want := workflow.Skipped
	if e.Kind == engine.SucceedTask {
		want = workflow.Succeeded
	}
	if h.Status.Terminal() {
		fits = []workflow.Status{workflow.Failed, workflow.Cancelled, workflow.Omitted}
	}
	switch {
	case st == want:
		return []answer{verbDone}
	case !slices.Contains(fits, st):
		return []answer{verbUnfit, verbDone}
	case e.Kind == engine.SucceedTask || st == workflow.Waiting || !whole:
		return nil // outputs and approvers decide
	case st == workflow.Failed && !h.Status.Terminal():
		return append(w.fitsUnderWay(s, e.Task), verbDone)
	}
	return []answer{verbDue, verbDone}
}

// fitsUnderWay: while a run goes on, what failed is taken up again only before it ends and with nothing below in flight.
func (w *world) fitsUnderWay(s *engine.State, task int) []answer {
	if s.Head.Ending != "" || s.Head.FinallyBegun || s.Head.Resetting != nil {
		return []answer{verbUnfit}
	}
	for n, in := range w.downstream(s, []int{task}) {
		if st := s.Tasks[n].Status; in && st != workflow.Pending && !st.Terminal() {
			return []answer{verbUnfit}
		}
	}
	return []answer{verbDue}
}

// fitsDecision: an approval that waits, by somebody who may, with inputs that are right; once.
func (w *world) fitsDecision(s *engine.State, e engine.Event, whole bool) []answer {
	def := &w.def.Tasks[e.Task]
	if def.BodyKind != workflow.BodyApproval || whole && def.Shape() != workflow.ShapePlain {
		return []answer{verbUnfit}
	}
	i := max(e.Instance, 0)
	if i >= len(s.Instances[e.Task]) || s.Instances[e.Task][i].Status != workflow.Waiting {
		return []answer{verbUnfit, verbDone}
	}
	own := w.own(s, place{e.Task, i})
	if len(own.approvers) > 0 && !slices.Contains(own.approvers, e.By) {
		return []answer{verbUnfit}
	}
	_, good := expectInputs(w, e.Task, e.Values)
	switch {
	case w.cut(s, e.Task):
		return []answer{verbUnfit}
	case e.Kind == engine.Approve && !good:
		return []answer{verbUnfit}
	}
	return []answer{verbDue}
}

// cut reports whether what is under way of a task is being ended.
func (w *world) cut(s *engine.State, n int) bool {
	t, h := s.Tasks[n], &s.Head
	if t.Cancelling != "" || h.Terminated || t.Given != nil && !t.Given.Next {
		return true
	}
	if w.def.Tasks[n].Kind == workflow.KindFinally {
		return false
	}
	return h.Ending == engine.EndingStop || h.Ending == engine.EndingTimeout || h.Ending == engine.EndingFailFast && !t.Exempt
}

// draw makes a verb on a task, one that may fit more often than not.
func (w *world) drawVerb(kind engine.EventKind) engine.Event {
	e := engine.Event{Kind: kind, By: []string{"ada", "bob", "eve"}[w.r.IntN(3)], Reason: "because"}
	if _, ok := verbTable[kind]; ok {
		return e
	}
	e.Task, e.Instance = w.r.IntN(len(w.def.Tasks)), w.r.IntN(5)-2
	e.Instance = max(e.Instance, -1)
	if w.leader != nil && !w.chance(0.2) { // aim
		s := w.leader.state
		var aims []int
		for n, t := range s.Tasks {
			approval := w.def.Tasks[n].BodyKind == workflow.BodyApproval
			if kind == engine.Approve || kind == engine.Reject {
				if approval && t.Status != workflow.Pending {
					aims = append(aims, n)
				}
			} else if slices.Contains(taskTable[kind], t.Status) || s.Head.Status.Terminal() && t.Status.Bad() {
				aims = append(aims, n)
				if t.Status == workflow.Failed {
					aims = append(aims, n, n, n, n)
				}
			}
		}
		if len(aims) > 0 {
			e.Task = aims[w.r.IntN(len(aims))]
		}
	}
	if w.def.Tasks[e.Task].Shape() == workflow.ShapePlain || kind == engine.RetryTask && w.chance(0.9) {
		e.Instance = -1
	}
	if kind == engine.Approve || kind == engine.SucceedTask {
		e.Values = w.drawValues(e.Task, kind)
	}
	return e
}

// drawValues fills in what somebody gives by hand, most of the time what is asked for.
func (w *world) drawValues(task int, kind engine.EventKind) map[string]workflow.Value {
	out := map[string]workflow.Value{}
	for _, o := range w.def.Tasks[task].Outputs {
		if o.Name == "by" || o.Name == "comment" || w.chance(0.1) {
			continue
		}
		out[o.Name] = workflow.Value{JSON: []byte(encoded(w.r.IntN(6)))}
		if w.chance(0.05) {
			out[o.Name] = workflow.Value{JSON: []byte(`"much"`)}
		}
	}
	if w.chance(0.03) {
		out["undeclared"] = workflow.Value{JSON: []byte("1")}
	}
	return out
}
