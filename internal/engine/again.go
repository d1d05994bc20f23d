// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"slices"

	"github.com/cairnflow/cairn/internal/workflow"
)

// A retry by hand makes the next generation: a set of tasks is reset, and the run goes on from there. The set may be large, so
// it is worked off over as many steps as it takes (Head.Resetting). It follows from the state at every moment: a task that is
// done bears the generation of the run, and counts for the set like what made it a part of it.

// resetPlan is the set of tasks that a retry by hand resets, and how far that has come.
type resetPlan struct {
	in       []bool // by task
	order    []int
	next     int // in order
	instance int // of that task
}

// planOf finds what a retry resets on the way to a generation: what is named, or what did not succeed; what somebody skipped
// or took for succeeded since the run was over; everything downstream of those; and finally. What a rerun left out stays out.
func (m *Machine) planOf(s *State, r Resetting, generation int) *resetPlan {
	p := &resetPlan{in: make([]bool, len(s.Tasks))}
	add := func(n int) {
		if !p.in[n] && !s.Tasks[n].Outside {
			p.in[n] = true
			p.order = append(p.order, n)
		}
	}
	for n, ts := range s.Tasks {
		finally := m.def.Tasks[n].Kind == workflow.KindFinally
		switch {
		case r.Task == n, ts.Generation == generation && generation > 1, ts.Resetting, m.marked(s, n):
			add(n)
		case r.Finally && finally, r.Task == AllFailed && !finally && m.unsuccessful(s, n):
			add(n)
		}
	}
	for k := 0; k < len(p.order); k++ {
		for _, e := range m.out[p.order[k]] {
			add(e.to)
		}
	}
	slices.Sort(p.order)
	return p
}

// unsuccessful reports whether a task, or an instance of it, failed, was cancelled or omitted.
func (m *Machine) unsuccessful(s *State, n int) bool {
	ts, c := s.Tasks[n], &s.tasks[n].tally
	return ts.Status.Bad() || c.failed+c.omitted+c.cancelled > 0 ||
		ts.Rest.Bad() && (s.unbegun(n) > 0 || s.tasks[n].again.len() > 0)
}

// marked reports whether something of a task was decided by hand for the next retry.
func (m *Machine) marked(s *State, n int) bool {
	ts := s.Tasks[n]
	if ts.Given != nil && ts.Given.Next {
		return true
	}
	for _, g := range ts.Ahead {
		if g.Next {
			return true
		}
	}
	return slices.ContainsFunc(s.Instances[n], func(in *Instance) bool { return in.Given != nil && in.Given.Next })
}

// whole reports whether all instances of a task in a plan run again. Else those that succeeded keep their results: its own
// failure is why it is in the plan, or only what it is expanded over was reset.
func (m *Machine) whole(p *resetPlan, n int) bool {
	task := &m.def.Tasks[n]
	if task.Kind == workflow.KindFinally {
		return true
	}
	for _, q := range m.graph.Predecessors(n) {
		if p.in[q] && !slices.Contains(task.ExpandRefs, m.def.Tasks[q].Name) {
			return true
		}
	}
	return false
}

// stale reports whether a task in a plan is to be expanded anew: something that its expansion reads was reset. Finally may
// read how the run ended.
func (m *Machine) stale(p *resetPlan, n int) bool {
	task := &m.def.Tasks[n]
	if task.Shape() == workflow.ShapePlain {
		return false
	}
	for _, name := range task.ExpandRefs {
		if q, ok := m.graph.Number(name); ok && p.in[q] {
			return true
		}
	}
	return task.Kind == workflow.KindFinally
}

// retryable are the statuses in which a task can be retried.
var retryable = []workflow.Status{workflow.Failed, workflow.Cancelled, workflow.Omitted}

func (m *Machine) fitsRetryTask(s *State, e Event, tg target) (due bool, err error) {
	switch {
	case e.Generation != 0 && s.Head.Generation >= e.Generation:
		return false, nil
	case tg.i >= 0:
		return false, misfit("%s: task retry is for whole tasks; its instances that succeeded keep their results", tg.what)
	case !slices.Contains(retryable, tg.status):
		return false, tg.unfit(RetryTask, retryable)
	case s.Head.Status.Terminal():
		return true, nil
	}
	if err := m.mayResetUnderWay(s, tg, RetryTask); err != nil {
		return false, err
	}
	return true, nil
}

// mayResetUnderWay reports why a task that is over cannot be taken up again while its run goes on.
func (m *Machine) mayResetUnderWay(s *State, tg target, k EventKind) error {
	h := &s.Head
	switch {
	case h.Ending != "":
		return misfit("run %s is ending (%s); use %s once it is over", s.Input.Run, h.Ending, k.word())
	case h.FinallyBegun:
		return misfit("finally has begun in run %s; use %s once the run is over", s.Input.Run, k.word())
	case h.Resetting != nil:
		return misfit("run %s is still taking up an earlier retry; use %s again in a moment", s.Input.Run, k.word())
	}
	for _, n := range m.planOf(s, Resetting{Task: tg.n}, h.Generation+1).order {
		if status := s.Tasks[n].Status; status != workflow.Pending && !status.Terminal() {
			return misfit("task %s, downstream of %s, is %s; wait for it or cancel it, then use %s",
				m.def.Tasks[n].Name, tg.what, status, k.word())
		}
	}
	return nil
}

// retry begins the next generation of a run that is over. It waits for Begin then, like a new one.
func (t *turn) retry() { t.reviveRun(AllFailed) }

// retryTask takes up one task and everything downstream of it.
func (t *turn) retryTask() {
	if t.s.Head.Status.Terminal() {
		t.reviveRun(t.e.Task)
		return
	}
	t.startReset(Resetting{Task: t.e.Task})
}

func (t *turn) reviveRun(task int) {
	s := t.s
	old := s.Head
	s.Head = Head{
		Version: old.Version, Status: workflow.RunQueued, Generation: old.Generation, LastAt: old.LastAt, Fired: old.Fired,
		Pauses: old.Pauses, Packs: old.Packs, Verbs: old.Verbs,
	}
	s.work, s.blocked, s.wall, s.active = taskHeap{}, taskHeap{}, nil, nil
	t.startReset(Resetting{Task: task, Finally: true})
}

// startReset begins a generation; drain works it off.
func (t *turn) startReset(r Resetting) {
	h := &t.s.Head
	h.Generation++
	h.Resetting, t.s.plan = &r, nil
	t.s.dirty.markHead()
}

// reset goes on with the resets of a retry by hand. It is false when the step's budget ended before they were done.
func (t *turn) reset() bool {
	m, s := t.m, t.s
	h := &s.Head
	if s.plan == nil {
		s.plan = m.planOf(s, *h.Resetting, h.Generation)
	}
	p := s.plan
	for ; p.next < len(p.order); p.next++ {
		n := p.order[p.next]
		if s.Tasks[n].Generation != h.Generation && !t.resetTask(p, n) {
			return false
		}
		p.instance = 0
	}
	h.Resetting, s.plan = nil, nil
	s.dirty.markHead()
	t.lookAtAll()
	return true
}

// resetTask makes a task pending again, its instances first. It is false when the step's budget ended before.
func (t *turn) resetTask(p *resetPlan, n int) bool {
	m, s := t.m, t.s
	ts, d := s.Tasks[n], &s.tasks[n]
	if !t.room() {
		return false
	}
	if !ts.Resetting && len(s.Instances[n]) > 1 {
		ts.Resetting = true
		s.dirty.task(n)
	}
	whole := m.whole(p, n)
	for ; p.instance < len(s.Instances[n]); p.instance++ {
		if !t.room() {
			return false
		}
		t.resetInstance(n, p.instance, whole)
	}
	given := ts.Given
	if ts.Status.Terminal() {
		for _, e := range m.out[n] {
			m.count(s, n, e, -1)
		}
		if m.def.Tasks[n].Kind == workflow.KindFinally {
			s.openFinally++
		} else {
			s.open++
		}
		if given != nil && !given.Next {
			s.outputBytes -= ts.givenSize()
			given = nil
		}
	}
	if given != nil {
		given.Next = false
	}
	for _, g := range ts.Ahead {
		g.Next = false
	}
	s.Tasks[n] = &TaskState{
		Status: workflow.Pending, Generation: s.Head.Generation, Given: given, Ahead: ts.Ahead,
		Expanded: ts.Expanded, Stale: ts.Expanded && (ts.Stale || m.stale(p, n)), Size: ts.Size, Begun: ts.Begun,
	}
	d.attempted, d.shared = 0, nil
	s.dirty.task(n)
	return true
}

// resetInstance makes an instance pending again, unless it keeps its result; what was decided about it by hand since the run
// was over acts now. Its number, its fence and its attempts stay.
func (t *turn) resetInstance(n, i int, whole bool) {
	s := t.s
	in := s.Instances[n][i]
	given := in.Given
	switch {
	case given != nil && given.Next:
		given.Next = false
	case in.Status == workflow.Pending, !whole && !in.Status.Bad():
		return
	default:
		given = nil
	}
	if _, seen := s.position(n, i); seen {
		s.outputBytes -= in.outputSize()
	}
	to := workflow.Pending
	fresh := Instance{Status: in.Status, Number: in.Number, Fence: in.Fence, Given: given, Past: in.Past}
	if given != nil {
		to, fresh.Reason, fresh.EndedAt = given.Status, given.Why, t.at
	}
	*in = fresh
	s.setStatus(n, i, to)
	s.dirty.instance(n, i)
	if _, seen := s.position(n, i); seen {
		s.outputBytes += in.outputSize()
	}
}

// Planned is a task that a retry would run, and how many instances of it; Instances is 0 when that is not known yet.
type Planned struct {
	Task      string
	Instances int
}

// RetryPlan lists what a Retry or RetryTask would run, in declaration order, as far as nothing fails or is skipped on the way.
// It returns a *Misfit like Fits.
func (m *Machine) RetryPlan(s *State, e Event) ([]Planned, error) {
	if e.Kind != Retry && e.Kind != RetryTask {
		return nil, misfit("%s runs nothing again; a plan is for retry and task retry", e.Kind.word())
	}
	if due, err := m.Fits(s, e); err != nil || !due {
		return nil, err
	}
	r := Resetting{Task: AllFailed, Finally: s.Head.Status.Terminal()}
	if e.Kind == RetryTask {
		r.Task = e.Task
	}
	p := m.planOf(s, r, s.Head.Generation+1)
	var out []Planned
	for _, n := range p.order {
		if g := s.Tasks[n].Given; g != nil && g.Next {
			continue
		}
		out = append(out, Planned{Task: m.def.Tasks[n].Name, Instances: m.runsAgain(s, p, n)})
	}
	return out, nil
}

// runsAgain counts the instances of a task in a plan that would run.
func (m *Machine) runsAgain(s *State, p *resetPlan, n int) int {
	ts := s.Tasks[n]
	switch {
	case m.def.Tasks[n].Shape() == workflow.ShapePlain:
		return 1
	case !ts.Expanded || ts.Stale || m.stale(p, n):
		return 0
	}
	count, whole := 0, m.whole(p, n)
	for position := range ts.Size {
		i := m.NumberAt(s, n, position)
		g := s.givenOf(target{n: n, i: i})
		if kept := !whole && m.InstanceStatus(s, n, i).OK(); !kept && (g == nil || !g.Next) {
			count++
		}
	}
	return count
}
