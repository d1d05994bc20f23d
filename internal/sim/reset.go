// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"maps"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// resetWant is what a retry by hand has to reset: no more and no less. It is worked out from the run as it was when the verb
// came, and belongs to the generation that the verb made.
type resetWant struct {
	at    workflow.Time
	tasks []bool
	whole []bool // all instances of the task; else those that did not succeed
	stale []bool // expanded anew
}

// foresee works out what an event must lead to, from the state before it.
func (j *judge) foresee(e engine.Event) {
	if isVerb(e.Kind) && j.checkFits(e) {
		if want := j.w.expectReset(j.s, e); want != nil {
			j.resets[j.s.Head.Generation+1] = want
			j.w.stats.hit("reset by " + string(e.Kind))
			j.checkPlan(e, want)
		}
	}
	j.dyingBefore = map[workflow.AttemptID]bool{}
	for id, c := range j.out.starts {
		if c.Kind == engine.KillAttempt && c.Start.Kind == workflow.BodyRunWorkflow && !c.Start.Terminate {
			j.dyingBefore[id] = true
		}
	}
}

// checkPlan holds that what a retry says it would run is what it resets, but for what was decided by hand.
func (j *judge) checkPlan(e engine.Event, want *resetWant) {
	w := j.w
	if e.Kind != engine.Retry && e.Kind != engine.RetryTask {
		return
	}
	plan, err := w.machine.RetryPlan(j.s, e)
	if err != nil {
		w.fail("%s is due, and its plan says %v", describe(w, e), err)
	}
	planned := map[string]int{}
	for _, p := range plan {
		planned[p.Task] = p.Instances
	}
	for n, t := range j.s.Tasks {
		name := w.def.Tasks[n].Name
		count, ok := planned[name]
		runs := want.tasks[n] && !(t.Given != nil && t.Given.Next)
		if ok != runs {
			w.fail("%s: the plan holds task %s: %t, want %t", describe(w, e), name, ok, runs)
		}
		if runs && count != w.expectCount(j.s, want, n) {
			w.fail("%s: the plan holds %d instances of task %s, want %d", describe(w, e), count, name, w.expectCount(j.s, want, n))
		}
	}
}

// expectCount is how many instances of a task a retry runs; 0 when they are not known yet.
func (w *world) expectCount(s *engine.State, want *resetWant, n int) (count int) {
	t := s.Tasks[n]
	switch {
	case w.def.Tasks[n].Shape() == workflow.ShapePlain:
		return 1
	case !t.Expanded, t.Stale, want.stale[n]:
		return 0
	}
	for position := range t.Size {
		i := numberAt(s, n, position)
		g := t.Ahead[i]
		if i < len(s.Instances[n]) && s.Instances[n][i].Given != nil {
			g = s.Instances[n][i].Given
		}
		if (want.whole[n] || !instanceStatus(s, n, i).OK()) && (g == nil || !g.Next) {
			count++
		}
	}
	return count
}

// downstream marks tasks and everything that has an edge to one of them. What a rerun left out stays out.
func (w *world) downstream(s *engine.State, from []int) []bool {
	in := make([]bool, len(s.Tasks))
	for len(from) > 0 {
		n := from[0]
		from = from[1:]
		if in[n] || s.Tasks[n].Outside {
			continue
		}
		in[n] = true
		from = append(from, w.graph.Dependents(n)...)
	}
	return in
}

// expectReset works out what a verb that fits resets; nil when it resets nothing.
func (w *world) expectReset(s *engine.State, e engine.Event) *resetWant {
	over := s.Head.Status.Terminal()
	var from []int
	switch e.Kind {
	case engine.Retry:
		for n, t := range s.Tasks {
			bad := t.Status.Bad()
			for position := range t.Size {
				bad = bad || t.Expanded && instanceStatus(s, n, numberAt(s, n, position)).Bad()
			}
			if bad {
				from = append(from, n)
			}
		}
	case engine.RetryTask:
		from = append(from, e.Task)
	case engine.SkipTask, engine.SucceedTask:
		if over || s.Tasks[e.Task].Status != workflow.Failed || e.Instance >= 0 && w.def.Tasks[e.Task].Shape() != workflow.ShapePlain {
			return nil
		}
		from = append(from, e.Task)
	default:
		return nil
	}
	for n, t := range s.Tasks {
		marks := slices.Collect(maps.Values(t.Ahead))
		marks = append(marks, t.Given)
		for _, in := range s.Instances[n] {
			marks = append(marks, in.Given)
		}
		if over && (w.def.Tasks[n].Kind == workflow.KindFinally || slices.ContainsFunc(marks, func(g *engine.Given) bool { return g != nil && g.Next })) {
			from = append(from, n)
		}
	}
	out := &resetWant{at: e.At, tasks: w.downstream(s, from)}
	for n := range s.Tasks {
		def, whole, stale := &w.def.Tasks[n], w.def.Tasks[n].Kind == workflow.KindFinally, w.def.Tasks[n].Kind == workflow.KindFinally
		for _, p := range w.graph.Predecessors(n) {
			expands := slices.Contains(def.ExpandRefs, w.def.Tasks[p].Name)
			whole = whole || out.tasks[p] && !expands
			stale = stale || out.tasks[p] && expands
		}
		out.whole, out.stale = append(out.whole, whole), append(out.stale, stale)
	}
	return out
}

// resetNow reports whether task n was reset by the step that is being judged, or is being reset since.
func (j *judge) resetNow(n int) bool { return j.s.Tasks[n].Generation != j.was.tasks[n].generation }

// wants is the reset that the run is at, or was last at; nil when a rollback hid where it came from.
func (j *judge) wants() *resetWant { return j.resets[j.s.Head.Generation] }

// checkReset holds that exactly the right tasks are reset, and of each the right instances.
func (j *judge) checkReset(e engine.Event) {
	w, s := j.w, j.s
	want := j.wants()
	if s.Head.Generation == 1 || want == nil {
		return
	}
	done := s.Head.Resetting == nil
	if j.was.resetting && done {
		w.stats.hit("reset over several steps")
	}
	for n, t := range s.Tasks {
		name := w.def.Tasks[n].Name
		reset := t.Generation == s.Head.Generation
		switch {
		case reset && !want.tasks[n]:
			w.fail("after %s: task %s was reset and nothing asks for that", describe(w, e), name)
		case done && want.tasks[n] && !reset:
			w.fail("after %s: task %s was not reset, it is %s", describe(w, e), name, t.Status)
		}
		if !reset || !j.resetNow(n) {
			continue
		}
		stale := want.stale[n] || j.was.tasks[n].stale
		if t.Status == workflow.Pending && t.Expanded && w.def.Tasks[n].Shape() != workflow.ShapePlain && t.Stale != stale {
			w.fail("task %s is to be expanded anew: %t, want %t", name, t.Stale, stale)
		}
		for i, in := range s.Instances[n] {
			if in.Status.Terminal() && in.EndedAt < want.at && (want.whole[n] || in.Status.Bad()) {
				w.fail("after %s: %s[%d] is still %s, all its instances run again: %t", describe(w, e), name, i, in.Status, want.whole[n])
			}
		}
	}
}

// resettable reports whether instance i of task n, which was over, may be taken up again by the step that is being judged.
func (j *judge) resettable(n, i int, was workflow.Status) bool {
	want := j.wants()
	if want == nil {
		return j.w.undone
	}
	in := j.s.Instances[n][i]
	return want.tasks[n] && (want.whole[n] || was.Bad() || in.Given != nil) && (j.resetNow(n) || j.s.Tasks[n].Resetting)
}

// checkExpansion holds that an expansion that replaces another keeps the numbers of equal elements, and gives no number twice.
func (j *judge) checkExpansion(n int, old, now *engine.Expansion, begun int) {
	w := j.w
	name := w.def.Tasks[n].Name
	w.stats.hit("expanded anew")
	number := func(x *engine.Expansion, position int) int {
		if x.Numbers != nil {
			return x.Numbers[position]
		}
		return position
	}
	known := map[string]int{}
	for position, k := range old.Keys {
		known[k] = position
	}
	taken := map[int]bool{}
	for position, k := range now.Keys {
		i := number(now, position)
		if taken[i] {
			w.fail("task %s gives number %d twice", name, i)
		}
		taken[i] = true
		was, ok := known[k]
		kept := ok && same(decode(old.Values[was]), decode(now.Values[position])) && number(old, was) < begun
		switch {
		case kept && i != number(old, was):
			w.fail("task %s: the element %q had number %d and has %d", name, k, number(old, was), i)
		case !kept && i < begun:
			w.fail("task %s: the new element %q has number %d, which was given before", name, k, i)
		case kept:
			w.stats.hit("element kept")
		default:
			w.stats.hit("element new")
		}
	}
}

// checkVerdicts holds that no verdict that was ever saved changes, over generations and leaders.
func (w *world) checkVerdicts(s *engine.State) {
	for n, ins := range s.Instances {
		for i, in := range ins {
			for k, a := range in.Past {
				id := workflow.MakeAttemptID(s.Input.Run, n, i, a.Number)
				if a.Number != k+1 {
					w.fail("%s is attempt %d of its instance", id, k+1)
				}
				if was, ok := w.verdicts[id]; ok && was != a.Verdict {
					w.fail("%s was %s and is %s", id, was, a.Verdict)
				}
				w.verdicts[id] = a.Verdict
			}
			count := len(in.Past)
			if in.Current != nil {
				count++
			}
			if in.Number != count {
				w.fail("%s[%d] has number %d and %d attempts", w.def.Tasks[n].Name, i, in.Number, count)
			}
		}
	}
}
