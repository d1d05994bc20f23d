// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"errors"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// rerun makes a rerun of the run that is over, now and then, and holds what it copies, and that it comes to its end.
func (w *world) rerun(source *engine.State) {
	if !w.faults.Verbs || large(w.def) || !w.chance(0.3) {
		return
	}
	var what engine.Selection
	for n := range w.def.Tasks {
		switch w.r.IntN(6) {
		case 0:
			what.From = append(what.From, w.def.Tasks[n].Name)
		case 1:
			what.Only = append(what.Only, w.def.Tasks[n].Name)
		}
	}
	in := w.input
	in.Run = workflow.NewRunID(w.now.Time(), [6]byte{7})
	selected := make([]bool, len(w.def.Tasks))
	var from []int
	for n := range w.def.Tasks {
		name := w.def.Tasks[n].Name
		selected[n] = w.def.Tasks[n].Kind == workflow.KindFinally || slices.Contains(what.Only, name) || len(what.From)+len(what.Only) == 0
		if slices.Contains(what.From, name) {
			from = append(from, n)
		}
	}
	for seen := map[int]bool{}; len(from) > 0; from = from[1:] {
		if n := from[0]; !seen[n] {
			seen[n], selected[n] = true, true
			from = append(from, w.graph.Dependents(n)...)
		}
	}
	lacks := false
	for n := range w.def.Tasks {
		for _, p := range w.graph.Predecessors(n) {
			lacks = lacks || selected[n] && !selected[p] && source.Tasks[p].Status.Bad()
		}
	}
	s, err := w.machine.Rerun(in, source, what)
	var misfit *engine.Misfit
	if lacks != errors.As(err, &misfit) || lacks != (err != nil) {
		w.fail("a rerun of %v says %v; something that it needs is not there: %t", what, err, lacks)
	}
	if err != nil {
		w.stats.hit("rerun that needs what is not there")
		return
	}
	w.stats.hit("rerun")
	w.finishRerun(source, s, selected)
}

// finishRerun lets a rerun go to its end, everything succeeding, without a fault; what was left out must not change.
func (w *world) finishRerun(source, s *engine.State, selected []bool) {
	if records, err := w.machine.EncodeDirty(s); err != nil {
		w.fail("encode a rerun: %v", err)
	} else if s, err = w.machine.Load(records); err != nil {
		w.fail("load a rerun: %v", err)
	}
	queue := []engine.Event{{Kind: engine.Begin}}
	now, zero := w.now, 0
	for steps := 0; len(queue) > 0; steps++ {
		if steps > 100_000 {
			w.fail("a rerun does not end")
		}
		e := queue[0]
		queue = queue[1:]
		e.At = now
		for _, c := range w.machine.Step(s, e) {
			switch c.Kind {
			case engine.Want:
				queue = append(queue, engine.Event{Kind: engine.Admit, Task: c.Task, Instance: c.Instance})
			case engine.StartAttempt:
				if !selected[c.Start.TaskNo] {
					w.fail("a rerun starts %s, which is no part of it", c.Attempt)
				}
				queue = append(queue, engine.Event{Kind: engine.Ended, Attempt: c.Attempt, Outcome: &engine.Outcome{
					Kind: engine.OutcomeExited, ExitCode: &zero, Output: []byte("n=1\ns=x\n"), Stdout: []byte("rows=1\n"),
				}})
			case engine.Proceed:
				queue = append(queue, engine.Event{Kind: engine.Continue})
			}
		}
		if len(queue) > 0 || s.Head.Status.Terminal() {
			continue
		}
		for _, c := range w.machine.Outstanding(s) { // a wait, a backoff, or somebody to decide
			if c.Kind == engine.WakeAt {
				now = max(now, c.At)
				queue = append(queue, engine.Event{Kind: engine.Tick})
			}
		}
		for n, ins := range s.Instances {
			for i, in := range ins {
				if in.Status == workflow.Waiting && in.Current != nil && w.def.Tasks[n].BodyKind == workflow.BodyApproval {
					queue = append(queue, engine.Event{Kind: engine.Reject, Task: n, Instance: i, By: "ada"})
				}
			}
		}
	}
	if !s.Head.Status.Terminal() {
		w.fail("a rerun stands still, %s:%s", s.Head.Status, describeTasks(w, s))
	}
	for n, t := range s.Tasks {
		was := source.Tasks[n]
		if selected[n] {
			continue
		}
		want := workflow.Skipped
		if was.Status == workflow.Succeeded {
			want = workflow.Succeeded
		}
		if t.Status != want || (t.CopiedFrom != "") != (want == workflow.Succeeded) {
			w.fail("task %s was %s, is not part of the rerun and is %s, copied from %q", w.def.Tasks[n].Name, was.Status, t.Status, t.CopiedFrom)
		}
		if a, b := encoded(w.taskValues(source, n, false)), encoded(w.taskValues(s, n, false)); want == workflow.Succeeded && a != b {
			w.fail("task %s reads as %s in a rerun, it was %s", w.def.Tasks[n].Name, b, a)
		}
	}
}
