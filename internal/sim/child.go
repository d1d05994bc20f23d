// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// childRun is a child run, as opaque to its parent as a process: who runs it now, and how it ended.
type childRun struct {
	job      *job
	over, ok bool
}

// takeChild starts the child run of a job, or takes it up again. No child is run by two attempts at the same time, and none
// that succeeded is run again.
func (x *executor) takeChild(j *job) {
	if j.start.Kind != workflow.BodyRunWorkflow {
		return
	}
	w, c := x.w, x.children[j.start.Child]
	w.stats.hit("child run")
	switch {
	case j.start.Child == "" || j.start.ChildGeneration < 1 || j.start.Depth != 1:
		w.fail("%s is a child run without one: %+v", j.id, j.start)
	case c == nil || w.undone || c.job.id == j.id:
	case j.start.ChildGeneration == 1:
		w.fail("%s starts child %s, which %s has started", j.id, j.start.Child, c.job.id)
	case !c.over:
		w.fail("%s takes up child %s, which %s runs", j.id, j.start.Child, c.job.id)
	case c.ok:
		w.fail("%s takes up child %s, which succeeded", j.id, j.start.Child)
	default:
		w.stats.hit("child run taken up again")
	}
	x.children[j.start.Child] = &childRun{job: j}
}

// hold tells a child run to pause or to go on; of two leaders the newer is heard.
func (x *executor) hold(l *leader, j *job, hold bool) {
	if j.start.Kind != workflow.BodyRunWorkflow || l.epoch < j.holdEpoch || j.phase == jobEnded {
		return
	}
	if !hold && j.holdEpoch == 0 {
		return
	}
	j.holdEpoch, j.hold = l.epoch, hold
	if hold {
		x.w.after(x.w.between(0, 20*time.Second), func() {
			if j.hold && j.phase != jobEnded && !j.resting {
				x.w.stats.hit("child run paused")
				j.resting = true
				x.report(j)
			}
		})
		return
	}
	due := j.due
	j.resting, j.due = false, nil
	x.report(j)
	if due != nil {
		due()
	}
}

// childPlan is what a child run or a call will do.
func (w *world) childPlan(j *job) plan {
	f := &w.profile
	p := plan{delay: w.between(0, f.slowStart), run: w.between(0, f.slowRun), kind: engine.OutcomeExited, values: map[string]workflow.Value{}}
	for _, o := range w.def.Tasks[j.at.task].Outputs {
		if w.chance(0.8) {
			p.values[o.Name] = workflow.Value{JSON: []byte(encoded(w.r.IntN(6)))}
		}
	}
	p.values["undeclared"] = workflow.Value{JSON: []byte("1")}
	switch x := w.r.Float64(); {
	case x < f.fail:
		p.kind, p.message = engine.OutcomeFailed, "answered 500"
	case x < f.fail+f.odd && j.start.Kind == workflow.BodyRunWorkflow:
		p.kind, p.message = engine.OutcomeSkipped, "max_runs"
		if w.chance(0.3) {
			p.hang = w.bounded(j)
		}
	case x < f.fail+f.odd:
		p.kind = engine.OutcomeTimedOut
		if w.chance(0.5) {
			p.never, p.kind, p.message = true, engine.OutcomeInvalid, "no such scheme"
		}
	}
	return p
}

// lived reports whether the attempt of a start was there before the step.
func (j *judge) lived(st *engine.Start) bool {
	all := j.was.instances[st.TaskNo]
	return st.Instance < len(all) && all[st.Instance].current && all[st.Instance].number == st.Number
}

// checkChild holds which child run an attempt starts: another one, or, as the first since a retry by hand, the one of the
// attempt before, when that did not end well and is asked for the same.
func (j *judge) checkChild(st *engine.Start, in *engine.Instance) {
	w := j.w
	w.bodies[st.Attempt] = string(st.Body)
	if len(in.Past) > 0 && len(life(j.s, st.TaskNo, in)) == 0 {
		last := in.Past[len(in.Past)-1]
		body, known := w.bodies[workflow.MakeAttemptID(j.s.Input.Run, st.TaskNo, st.Instance, last.Number)]
		if !known {
			return
		}
		if last.Verdict != workflow.VerdictSucceeded && body == string(st.Body) {
			if st.Child != last.Place.Child || st.ChildGeneration != last.ChildGeneration+1 {
				w.fail("%s is retried by hand with child %s in generation %d, want %s in %d", st.Attempt, st.Child, st.ChildGeneration, last.Place.Child, last.ChildGeneration+1)
			}
			return
		}
	}
	if st.Child != workflow.ChildRunID(st.Attempt) || st.ChildGeneration != 1 {
		w.fail("%s starts child %s in generation %d, want a new one", st.Attempt, st.Child, st.ChildGeneration)
	}
}
