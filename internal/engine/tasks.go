// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"cmp"
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// maxChildren is how many child runs of a task go at the same time: nothing else bounds those.
const maxChildren = 128

// window bounds how many instances of a task are queued at once, so that the shell's admission queue and one step's changes
// stay small however wide a fan-out is.
const window = 128

// look does whatever is due for a task. It reports false when the step's budget ended before it was done.
func (t *turn) look(n int) bool {
	m, s := t.m, t.s
	ts := s.Tasks[n]
	if ts.Status.Terminal() {
		return true
	}
	if ts.Status == workflow.Pending {
		d := m.decide(s, n)
		switch {
		case d.status != "":
			ts.SkipBranch = d.branch
			t.endTask(n, d.status, d.reason)
			return true
		case !d.start:
			return true
		}
		if !t.beginTask(n) {
			return true
		}
	}
	c := m.scopeOf(s, n)
	if c.drain && s.tasks[n].attempted > 0 {
		c = scope{}
	}
	if c.rest != "" && !t.cancelRest(n, c) {
		return false
	}
	if ts.Rest != "" && !t.cancelQueued(n) {
		return false
	}
	if !t.fill(n) {
		return false
	}
	t.judgeTask(n)
	return true
}

// wantsLook reports whether look would change anything.
func (m *Machine) wantsLook(s *State, n int) bool {
	ts, d := s.Tasks[n], &s.tasks[n]
	if ts.Status.Terminal() {
		return false
	}
	if ts.Status == workflow.Pending {
		next := m.decide(s, n)
		return next.start || next.status != ""
	}
	c := m.scopeOf(s, n)
	if c.drain && d.attempted > 0 {
		c = scope{}
	}
	if c.rest != "" {
		if ts.Rest == "" && m.hasRest(s, n) {
			return true
		}
		if c.attempted != "" && len(d.queued)+len(d.waiting) > 0 {
			return true
		}
	}
	if ts.Rest != "" {
		if d.again.len() > 0 {
			return true
		}
		for i := range d.queued {
			if !m.attempted(s, n, i) {
				return true
			}
		}
	}
	return m.canFill(s, n) || m.complete(s, n)
}

// isBlocked reports whether task n would begin instances if the run's max_parallel let it.
func (m *Machine) isBlocked(s *State, n int) bool {
	return m.fillable(s, n) && !m.runRoomFor(s, n)
}

// hasRest reports whether task n has instances in the view that Rest would be about.
func (m *Machine) hasRest(s *State, n int) bool {
	d := &s.tasks[n]
	return s.unbegun(n) > 0 || d.again.len() > 0 || len(d.queued) > 0
}

// attempted reports whether an instance had an attempt since its task was last reset.
func (m *Machine) attempted(s *State, n, i int) bool {
	in := s.Instances[n][i]
	return in.Current != nil || len(in.Past) > 0 && in.Past[len(in.Past)-1].Generation >= s.Tasks[n].Generation
}

// beginTask fixes the view, evaluates `when` and expands the task. It reports false when the task ended at that.
func (t *turn) beginTask(n int) bool {
	m, s := t.m, t.s
	ts, task := s.Tasks[n], &m.def.Tasks[n]
	for _, p := range m.graph.Predecessors(n) {
		if !s.Tasks[p].Status.Terminal() {
			ts.Unseen = append(ts.Unseen, p)
		}
	}
	ts.Exempt = m.exempt(s, n)
	ts.BeganAt, ts.Status = t.at, workflow.Queued
	s.dirty.task(n)
	defer t.lookBelow(n)
	ts.AllowFailure = task.Policy.AllowFailure
	policy, err := m.taskPolicy(s, n)
	if err != nil {
		t.endTask(n, workflow.Failed, err.Error())
		return false
	}
	ts.AllowFailure = policy.AllowFailure
	if task.When != nil {
		v, err := m.eval.Evaluate(*task.When, workflow.Scope{Shared: m.shared(s, n)})
		yes, isBool := v.Bool()
		switch {
		case err != nil:
			t.endTask(n, workflow.Failed, err.Error())
			return false
		case !isBool:
			t.endTask(n, workflow.Failed, place(task.When.Range)+": `when` must be true or false, not null")
			return false
		case !yes:
			ts.SkipBranch = task.WhenFalse == workflow.WhenFalseSkipBranch
			t.endTask(n, workflow.Skipped, "when is false")
			return false
		}
	}
	if err := t.expand(n); err != nil {
		t.endTask(n, workflow.Failed, err.Error())
		return false
	}
	ts.MaxParallel, ts.MinSuccess = policy.MaxParallel, minSuccess(policy.MinSuccess, ts.Size)
	if ts.Size == 0 {
		t.endTask(n, workflow.Skipped, "no instances")
		return false
	}
	return true
}

// lookBelow lets the dependents of a task that began under drain or fail_fast learn that their edge is decided.
func (t *turn) lookBelow(n int) {
	if t.s.Head.Ending == EndingDrain || t.s.Head.Ending == EndingFailFast {
		for _, e := range t.m.out[n] {
			t.s.work.add(e.to)
		}
	}
}

// place is a range as people write it.
func place(r workflow.Range) string { return fmt.Sprintf("%s:%d", r.File, r.Line) }

// cancelRest applies a scope: instances not begun get its status, and where it ends attempted ones, those that wait too.
func (t *turn) cancelRest(n int, c scope) bool {
	s := t.s
	ts, d := s.Tasks[n], &s.tasks[n]
	if ts.Rest == "" && t.m.hasRest(s, n) {
		ts.Rest = c.rest
		if ts.Reason == "" {
			ts.Reason = c.why
		}
		s.dirty.task(n)
	}
	if c.attempted == "" {
		return true
	}
	for _, set := range []intSet{d.waiting, d.queued} {
		for _, i := range set.sorted() {
			if !t.room() {
				return false
			}
			status := c.attempted
			if !t.m.attempted(s, n, i) {
				status = c.rest
			}
			t.settleFor(n, i, status, c.why)
		}
	}
	return true
}

// settleFor settles an instance because of what was decided about its task. An approval or a wait ends with that.
func (t *turn) settleFor(n, i int, status workflow.Status, why string) {
	in, g := t.s.Instances[n][i], t.s.Tasks[n].Given
	if in.Status == workflow.Waiting && in.Current != nil {
		t.endOwn(n, i, workflow.VerdictCancelled, why, nil)
	}
	if g != nil && !g.Next && g.Status == status {
		in.Given = &Given{Status: status, Why: why}
	}
	t.settleInstance(n, i, status, why)
}

// cancelQueued gives the instances that are queued or pending again, and had no attempt, the status of the rest.
func (t *turn) cancelQueued(n int) bool {
	s := t.s
	d := &s.tasks[n]
	for _, i := range d.queued.sorted() {
		if t.m.attempted(s, n, i) {
			continue
		}
		if !t.room() {
			return false
		}
		t.settleFor(n, i, s.Tasks[n].Rest, s.Tasks[n].Reason)
	}
	for {
		_, i, ok := d.again.first()
		if !ok {
			return true
		}
		if !t.room() {
			return false
		}
		t.settleFor(n, i, s.Tasks[n].Rest, s.Tasks[n].Reason)
	}
}

// fillable reports whether task n has instances that may begin, but for the run's max_parallel.
func (m *Machine) fillable(s *State, n int) bool {
	ts, d := s.Tasks[n], &s.tasks[n]
	if !ts.Expanded || ts.Status.Terminal() || !m.mayStart(s, n) {
		return false
	}
	if d.due.len() == 0 && (ts.Rest != "" || s.unbegun(n) == 0 && d.again.len() == 0) {
		return false
	}
	inflight := d.inflight()
	switch m.def.Tasks[n].BodyKind {
	case workflow.BodyApproval, workflow.BodyWait:
		inflight = d.tally.waiting
	case workflow.BodyRunWorkflow:
		if inflight >= maxChildren {
			return false
		}
	}
	return d.tally.queued < window && (ts.MaxParallel == 0 || inflight < ts.MaxParallel)
}

func (m *Machine) canFill(s *State, n int) bool { return m.fillable(s, n) && m.runRoomFor(s, n) }

// runRoomFor reports whether the run's max_parallel lets another instance of task n in.
func (m *Machine) runRoomFor(s *State, n int) bool { return !m.counted(n) || m.runHasRoom(s) }

// counted reports whether the run's max_parallel counts the instances of task n: not those of finally, and not what needs no
// machine. Of the latter a child run counts, for what runs in it.
func (m *Machine) counted(n int) bool {
	task := &m.def.Tasks[n]
	return task.Kind == workflow.KindTask && (task.BodyKind.Cluster() || task.BodyKind == workflow.BodyRunWorkflow)
}

func (m *Machine) runHasRoom(s *State) bool {
	return m.def.MaxParallel == 0 || s.inflight < m.def.MaxParallel
}

// fill begins due retries first, then instances that are pending, in their order and as far as the bounds let it.
func (t *turn) fill(n int) bool {
	m, s := t.m, t.s
	ts, d := s.Tasks[n], &s.tasks[n]
	for d.due.len() > 0 && m.canFill(s, n) {
		if !t.room() {
			return false
		}
		_, i, _ := d.due.first()
		t.launch(n, i)
	}
	for ts.Rest == "" && m.canFill(s, n) {
		if !t.room() {
			return false
		}
		i, ok := t.nextPending(n)
		if !ok {
			break
		}
		t.launch(n, i)
	}
	if m.isBlocked(s, n) {
		s.blocked.add(n)
	}
	return true
}

// nextPending is the first instance that is to begin, by position: one that a retry made pending, or one without a record,
// which it gets now.
func (t *turn) nextPending(n int) (int, bool) {
	s := t.s
	ts := s.Tasks[n]
	position, i, again := s.tasks[n].again.first()
	if s.unbegun(n) > 0 {
		if fresh, _ := s.position(n, ts.Begun); !again || fresh < position {
			i, again = ts.Begun, true
			ts.Begun++
			s.dirty.task(n)
			s.Instances[n] = append(s.Instances[n], &Instance{})
		}
	}
	return i, again
}

// launch begins an instance, or its next try.
func (t *turn) launch(n, i int) {
	s := t.s
	ts, in := s.Tasks[n], s.Instances[n][i]
	if g := ts.Ahead[i]; g != nil && !g.Next {
		delete(ts.Ahead, i)
		s.dirty.task(n)
		in.Given, in.QueuedAt = g, t.at
		s.outputBytes += outputSize(g.Outputs)
		t.settleInstance(n, i, g.Status, g.Why)
		return
	}
	switch t.m.def.Tasks[n].BodyKind {
	case workflow.BodyJoin:
		in.QueuedAt = t.at
		t.settleInstance(n, i, workflow.Succeeded, "")
	case workflow.BodyApproval, workflow.BodyWait:
		t.open(n, i)
	case workflow.BodyRunWorkflow:
		t.spawn(n, i)
	default:
		t.queue(n, i)
	}
}

func (t *turn) queue(n, i int) {
	s := t.s
	s.Instances[n][i].QueuedAt = t.at
	s.Instances[n][i].RetryAt = 0
	t.move(n, i, workflow.Queued)
	t.emit(Command{Kind: Want, Task: n, Instance: i})
}

// move changes the status of an instance and what is counted by it.
func (t *turn) move(n, i int, to workflow.Status) {
	m, s := t.m, t.s
	from := s.Instances[n][i].Status
	s.setStatus(n, i, to)
	if m.counted(n) {
		s.inflight += delta(occupies(to)) - delta(occupies(from))
	}
	t.mirror(n)
	if from == workflow.Queued && to != workflow.Queued || occupies(from) && !occupies(to) {
		s.work.add(n) // a place in the window, or in max_parallel, is free
	}
}

func delta(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mirror keeps a begun task's status in step with its instances.
func (t *turn) mirror(n int) {
	s := t.s
	ts, c := s.Tasks[n], &s.tasks[n].tally
	if ts.Status.Terminal() {
		return
	}
	status := ts.Status
	switch {
	case c.running > 0 || ts.Size > 1 && (s.tasks[n].attempted > 0 || c.terminal() > 0):
		status = workflow.Running
	case c.starting > 0:
		status = workflow.Starting
	case c.queued > 0:
		status = workflow.Queued
	case c.waiting > 0:
		status = workflow.Waiting
	}
	if ts.Status != status {
		ts.Status = status
		s.dirty.task(n)
	}
}

// settleInstance gives an instance its final status.
func (t *turn) settleInstance(n, i int, status workflow.Status, why string) {
	s := t.s
	in := s.Instances[n][i]
	if in.Status == workflow.Queued && t.m.mayStart(s, n) {
		t.emit(Command{Kind: Withdraw, Task: n, Instance: i})
	}
	in.Reason, in.EndedAt, in.RetryAt = why, t.at, 0
	t.move(n, i, status)
	s.work.add(n)
	t.despair(n)
}

// despair notices that a fan-out cannot succeed any more: nothing new of it begins, and under fail_fast what runs is
// cancelled.
func (t *turn) despair(n int) {
	m, s := t.m, t.s
	ts, c := s.Tasks[n], &s.tasks[n].tally
	bad := c.failed + c.omitted + c.cancelled
	if ts.Size-bad >= ts.MinSuccess || ts.Size == 1 {
		return
	}
	if ts.Rest == "" {
		ts.Rest = workflow.Omitted
		if ts.Reason == "" {
			ts.Reason = cmp.Or(m.scopeOf(s, n).why, "it cannot succeed any more")
		}
		s.dirty.task(n)
	}
	if m.def.OnFailure == workflow.OnFailureFailFast && ts.Cancelling == "" {
		before := t.doomed()
		ts.Cancelling = CancelFailFast
		s.dirty.task(n)
		t.killNewly(before)
	}
}

// complete reports whether every instance of task n is terminal or never will be.
func (m *Machine) complete(s *State, n int) bool {
	ts := s.Tasks[n]
	rest := s.unbegun(n)
	return ts.Expanded && s.tasks[n].tally.terminal() == ts.Size-rest && (rest == 0 || ts.Rest != "")
}

// judgeTask ends a task whose instances are all terminal (semantics, "Fan-out").
func (t *turn) judgeTask(n int) {
	m, s := t.m, t.s
	ts, c := s.Tasks[n], &s.tasks[n].tally
	if !m.complete(s, n) {
		return
	}
	rest, ok, skipped := s.unbegun(n), c.succeeded+c.skipped, c.skipped
	if ts.Rest.OK() {
		ok += rest
	}
	if ts.Rest == workflow.Skipped {
		skipped += rest
	}
	reason := ts.Reason
	if ts.Size == 1 && rest == 0 {
		reason = cmp.Or(s.Instances[n][m.NumberAt(s, n, 0)].Reason, ts.Reason)
	}
	status := workflow.Succeeded
	switch {
	case ok >= ts.MinSuccess:
		switch {
		case ts.Given != nil:
			reason = ts.Given.Why
		case ts.Size > 1 || rest > 0:
			reason = ""
		default:
			reason = s.Instances[n][m.NumberAt(s, n, 0)].Reason
		}
		if skipped == ts.Size {
			status = workflow.Skipped
		}
	case c.failed > 0:
		status = workflow.Failed
		if ts.Size > 1 {
			reason = fmt.Sprintf("%d of %d instances succeeded, %d needed", ok, ts.Size, ts.MinSuccess)
		}
	case s.tasks[n].attempted == 0 && c.cancelled == 0 && (rest == 0 || ts.Rest == workflow.Omitted):
		status = workflow.Omitted
	default:
		status = workflow.Cancelled
	}
	t.endTask(n, status, reason)
}

// endTask gives a task its final status and lets its dependents know.
func (t *turn) endTask(n int, status workflow.Status, reason string) {
	m, s := t.m, t.s
	ts := s.Tasks[n]
	ts.Status, ts.Reason, ts.EndedAt = status, reason, t.at
	if ts.Expanded && ts.Rest == "" && (s.unbegun(n) > 0 || s.tasks[n].again.len() > 0) {
		ts.Rest = status // it ended before its instances could begin anew
	}
	s.dirty.task(n)
	s.tasks[n].shared = nil
	if m.def.Tasks[n].Kind == workflow.KindFinally {
		s.openFinally--
	} else {
		s.open--
	}
	for _, e := range m.out[n] {
		m.count(s, n, e, 1)
		s.work.add(e.to)
	}
	t.react(n)
}
