// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"container/heap"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// impossibleAfter is how long an attempt may wait when no worker could ever run it and it has no start_timeout
// (semantics, "Timeouts").
const impossibleAfter = 10 * time.Minute

type timerKind string

const (
	timerRun      timerKind = "run"      // active time: the run's timeout
	timerDeadline timerKind = "deadline" // active time: all attempts of an instance
	timerBackoff  timerKind = "backoff"
	timerStart    timerKind = "start" // start_timeout, or impossibleAfter
	timerTimeout  timerKind = "timeout"
	timerOwn      timerKind = "own" // the end of a wait, the timeout of an approval
)

type timer struct {
	at             workflow.Time
	kind           timerKind
	task, instance int
}

// timerHeap gives the earliest timer first. Entries are not removed when they lose their meaning: valid tells.
type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.task != b.task:
		return a.task < b.task
	case a.instance != b.instance:
		return a.instance < b.instance
	}
	return a.kind < b.kind
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// activeAt is the run's active time at the moment at: it stands still while the run is paused.
func (s *State) activeAt(at workflow.Time) workflow.Time {
	if s.Head.PausedAt != 0 {
		at = s.Head.PausedAt
	}
	return at.Add(-s.Head.PausedTotal)
}

// timersOf lists the timers that instance i of task t has by its durable state.
func (m *Machine) timersOf(s *State, t, i int, each func(timer, bool)) {
	in := s.Instances[t][i]
	if in.Status.Terminal() {
		return
	}
	c, p := in.Current, m.policy(in, t)
	if c != nil {
		if verdict, _ := m.doom(s, t, in); verdict != "" {
			return
		}
	}
	if p.Deadline > 0 && in.FirstStart != 0 {
		each(timer{in.FirstStart.Add(p.Deadline), timerDeadline, t, i}, true)
	}
	switch {
	case in.Status == workflow.Waiting && c != nil:
		if c.Due != 0 {
			each(timer{c.Due, timerOwn, t, i}, false)
		}
	case in.Status == workflow.Waiting && !m.isDue(s, t, i):
		each(timer{in.RetryAt, timerBackoff, t, i}, false)
	case in.Status == workflow.Starting && p.StartTimeout > 0:
		each(timer{c.IntentSince.Add(p.StartTimeout), timerStart, t, i}, false)
	case in.Status == workflow.Starting && c.ImpossibleSince != 0:
		each(timer{c.ImpossibleSince.Add(impossibleAfter), timerStart, t, i}, false)
	case in.Status == workflow.Running && m.timeout(p, t) > 0:
		// A child run stands still with its parent; nothing else runs while a run is paused.
		each(timer{c.Observed.Add(m.timeout(p, t)), timerTimeout, t, i}, m.def.Tasks[t].BodyKind == workflow.BodyRunWorkflow)
	}
}

func (m *Machine) isDue(s *State, t, i int) bool {
	return s.tasks[t].due.in[i]
}

// timeout is the timeout of one attempt: finally tasks always have one.
func (m *Machine) timeout(p *workflow.Policy, t int) time.Duration {
	if p.Timeout == 0 && m.def.Tasks[t].Kind == workflow.KindFinally {
		return workflow.FinallyTimeout
	}
	return p.Timeout
}

// arm puts the timers of an instance on the heaps.
func (m *Machine) arm(s *State, t, i int) {
	m.timersOf(s, t, i, func(x timer, active bool) {
		if active {
			heap.Push(&s.active, x)
		} else {
			heap.Push(&s.wall, x)
		}
	})
}

func (m *Machine) armRun(s *State) {
	if m.def.Timeout > 0 && s.Head.StartedAt != 0 {
		heap.Push(&s.active, m.runTimer(s))
	}
}

func (m *Machine) runTimer(s *State) timer {
	return timer{at: s.Head.StartedAt.Add(m.def.Timeout), kind: timerRun}
}

// valid reports whether the durable state still has this timer.
func (m *Machine) valid(s *State, x timer) bool {
	if x.kind == timerRun {
		return x == m.runTimer(s) && !s.Head.FinallyBegun && s.Head.Ending != EndingStop && s.Head.Ending != EndingTimeout &&
			!s.Head.Status.Terminal()
	}
	found := false
	m.timersOf(s, x.task, x.instance, func(y timer, _ bool) { found = found || x == y })
	return found
}

// top drops what has lost its meaning and returns the earliest timer of h.
func (m *Machine) top(s *State, h *timerHeap) (timer, bool) {
	for len(*h) > 0 {
		if m.valid(s, (*h)[0]) {
			return (*h)[0], true
		}
		heap.Pop(h)
	}
	return timer{}, false
}

// nextWake is the wall-clock moment of the earliest timer; 0 when there is none.
func (m *Machine) nextWake(s *State) workflow.Time {
	var next workflow.Time
	if s.Head.Status.Terminal() {
		return 0
	}
	if x, ok := m.top(s, &s.wall); ok {
		next = x.at
	}
	if s.Head.PausedAt == 0 {
		if x, ok := m.top(s, &s.active); ok {
			if at := x.at.Add(s.Head.PausedTotal); next == 0 || at < next {
				next = at
			}
		}
	}
	return next
}

// firedUpTo is the moment up to which timers have been handled: at, unless the step's budget ended before.
func (m *Machine) firedUpTo(s *State, at workflow.Time) workflow.Time {
	if x, ok := m.top(s, &s.wall); ok && x.at <= at {
		return x.at - 1
	}
	return at
}

// fire handles the timers that are due, as far as the step's budget goes.
func (t *turn) fire() {
	m, s := t.m, t.s
	for t.room() {
		x, ok := m.top(s, &s.wall)
		h := &s.wall
		if !ok || x.at > t.at {
			x, ok = m.top(s, &s.active)
			h = &s.active
			if !ok || s.Head.PausedAt != 0 || x.at > s.activeAt(t.at) {
				return
			}
		}
		heap.Pop(h)
		s.dirty.head = true
		t.touched = true
		t.ring(x)
	}
}

func (t *turn) ring(x timer) {
	m, s := t.m, t.s
	if x.kind == timerRun {
		t.end(EndingTimeout, "timeout")
		return
	}
	in := s.Instances[x.task][x.instance]
	switch x.kind {
	case timerOwn:
		t.ringOwn(x.task, x.instance)
	case timerBackoff:
		position, _ := s.position(x.task, x.instance)
		s.tasks[x.task].due.add(position, x.instance)
		s.work.add(x.task)
	case timerStart:
		t.kill(x.task, x.instance, workflow.VerdictError, m.startTimeoutReason(in, x.task))
	case timerTimeout:
		t.kill(x.task, x.instance, workflow.VerdictTimedOut, "timeout of "+m.timeout(m.policy(in, x.task), x.task).String())
	case timerDeadline:
		why := "deadline of " + m.policy(in, x.task).Deadline.String()
		if in.Current != nil {
			t.kill(x.task, x.instance, workflow.VerdictTimedOut, why)
			return
		}
		t.settleInstance(x.task, x.instance, workflow.Failed, why)
	}
}

func (m *Machine) startTimeoutReason(in *Instance, t int) string {
	limit := m.policy(in, t).StartTimeout
	why := "start_timeout of " + limit.String()
	if limit == 0 {
		why = "no worker could ever run it (" + impossibleAfter.String() + ")"
	}
	if in.Current.Message != "" {
		why += ": " + in.Current.Message
	}
	return why
}
