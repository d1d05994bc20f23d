// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"github.com/cairnflow/cairn/internal/workflow"
)

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
		if ts.Rest == "" && (ts.Begun < ts.Size || len(d.queued) > 0) {
			return true
		}
		if c.attempted != "" && len(d.queued)+len(d.waiting) > 0 {
			return true
		}
	}
	if ts.Rest != "" {
		for i := range d.queued {
			if s.Instances[n][i].Number == 0 {
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
	if err := m.expand(s, n, policy); err != nil {
		t.endTask(n, workflow.Failed, err.Error())
		return false
	}
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

// expand decides the instances of a task.
func (m *Machine) expand(s *State, n int, policy *workflow.Policy) error {
	ts, task := s.Tasks[n], &m.def.Tasks[n]
	size := 1
	switch {
	case task.Count != nil:
		v, err := m.eval.Evaluate(*task.Count, workflow.Scope{Shared: m.shared(s, n)})
		if err != nil {
			return err
		}
		var count float64
		if v.Null() || json.Unmarshal(v.JSON, &count) != nil || count < 0 || count != math.Trunc(count) {
			return fmt.Errorf("%s: `count` must be a whole number, 0 or more", place(task.Count.Range))
		}
		if count > workflow.MaxInstances {
			return fmt.Errorf("%s: `count` is %.0f, at most %d instances", place(task.Count.Range), count, workflow.MaxInstances)
		}
		size = int(count)
	case task.ForEach != nil:
		x, err := m.expansion(s, n)
		if err != nil {
			return err
		}
		s.Expansions[n] = x
		s.dirty.expansions = append(s.dirty.expansions, n)
		size = len(x.Keys)
	}
	ts.Expanded, ts.Size, ts.MaxParallel = true, size, policy.MaxParallel
	ts.MinSuccess = minSuccess(policy.MinSuccess, size)
	s.Instances[n] = make([]*Instance, 0, min(size, window))
	return nil
}

// minSuccess is the number of instances that must succeed: percentages round up, more than there are means all.
func minSuccess(p workflow.MinSuccess, size int) int {
	switch {
	case p.Number > 0:
		return min(p.Number, size)
	case p.Percent > 0:
		return min(int(math.Ceil(p.Percent*float64(size)/100-1e-9)), size)
	}
	return size
}

// expansion evaluates for_each: a map by key, a set of strings by element, a list by its key expression.
func (m *Machine) expansion(s *State, n int) (*Expansion, error) {
	task := &m.def.Tasks[n]
	where := place(task.ForEach.Range)
	shared := m.shared(s, n)
	v, err := m.eval.Evaluate(*task.ForEach, workflow.Scope{Shared: shared})
	if err != nil {
		return nil, err
	}
	x := &Expansion{}
	add := func(key string, raw json.RawMessage) {
		x.Keys = append(x.Keys, key)
		x.Values = append(x.Values, workflow.Value{JSON: raw, Sensitive: v.Sensitive})
	}
	var asMap map[string]json.RawMessage
	var asList []json.RawMessage
	switch {
	case v.Null():
		return nil, fmt.Errorf("%s: `for_each` is null", where)
	case json.Unmarshal(v.JSON, &asMap) == nil:
		keys := make([]string, 0, len(asMap))
		for k := range asMap {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			add(k, asMap[k])
		}
	case json.Unmarshal(v.JSON, &asList) != nil:
		return nil, fmt.Errorf("%s: `for_each` must be a map, a set of strings, or a list with `key`", where)
	case task.Key == nil:
		keys := make([]string, len(asList))
		for i, raw := range asList {
			if json.Unmarshal(raw, &keys[i]) != nil || string(raw) == "null" {
				return nil, fmt.Errorf("%s: `for_each` over a set takes strings; for a list write `key`", where)
			}
		}
		sort.Strings(keys)
		for _, k := range keys {
			raw, err := json.Marshal(k)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			add(k, raw)
		}
	default:
		for i, raw := range asList {
			each := &workflow.Each{Value: workflow.Value{JSON: raw, Sensitive: v.Sensitive}, Index: i}
			k, err := m.eval.Evaluate(*task.Key, workflow.Scope{Shared: shared, Each: each})
			if err != nil {
				return nil, err
			}
			key, err := keyText(k)
			if err != nil {
				return nil, fmt.Errorf("%s: key of element %d: %w", place(task.Key.Range), i, err)
			}
			add(key, raw)
		}
	}
	return x, checkKeys(x.Keys, where)
}

func keyText(v workflow.Value) (string, error) {
	var s string
	if json.Unmarshal(v.JSON, &s) == nil && !v.Null() {
		return s, nil
	}
	var num json.Number
	if json.Unmarshal(v.JSON, &num) == nil && !v.Null() {
		return num.String(), nil
	}
	return "", fmt.Errorf("must be a string or a number")
}

func checkKeys(keys []string, where string) error {
	seen, total := make(map[string]bool, len(keys)), 0
	for _, k := range keys {
		switch {
		case k == "":
			return fmt.Errorf("%s: an instance key is empty", where)
		case len(k) > workflow.MaxKeyBytes:
			return fmt.Errorf("%s: the key %.20q… has %d bytes, at most %d", where, k, len(k), workflow.MaxKeyBytes)
		case seen[k]:
			return fmt.Errorf("%s: the key %q occurs twice", where, k)
		}
		seen[k] = true
		total += len(k)
	}
	if total > workflow.MaxExpansionBytes {
		return fmt.Errorf("%s: the keys have %d bytes together, at most %d", where, total, workflow.MaxExpansionBytes)
	}
	if len(keys) > workflow.MaxInstances {
		return fmt.Errorf("%s: %d instances, at most %d", where, len(keys), workflow.MaxInstances)
	}
	return nil
}

// cancelRest applies a scope: instances not begun get its status, and where it ends attempted ones, those that wait too.
func (t *turn) cancelRest(n int, c scope) bool {
	s := t.s
	ts, d := s.Tasks[n], &s.tasks[n]
	if ts.Rest == "" && (ts.Begun < ts.Size || len(d.queued) > 0) {
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
			if s.Instances[n][i].Number == 0 {
				status = c.rest
			}
			t.settleInstance(n, i, status, c.why)
		}
	}
	return true
}

// cancelQueued gives the queued instances that had no attempt the status of the rest.
func (t *turn) cancelQueued(n int) bool {
	s := t.s
	for _, i := range s.tasks[n].queued.sorted() {
		if s.Instances[n][i].Number > 0 {
			continue
		}
		if !t.room() {
			return false
		}
		t.settleInstance(n, i, s.Tasks[n].Rest, s.Tasks[n].Reason)
	}
	return true
}

// fillable reports whether task n has instances that may ask for admission, but for the run's max_parallel.
func (m *Machine) fillable(s *State, n int) bool {
	ts, d := s.Tasks[n], &s.tasks[n]
	if !ts.Expanded || ts.Status.Terminal() || !m.mayStart(s, n) {
		return false
	}
	if len(d.due) == 0 && (ts.Rest != "" || ts.Begun == ts.Size) {
		return false
	}
	return d.tally.queued < window && (ts.MaxParallel == 0 || d.inflight() < ts.MaxParallel)
}

func (m *Machine) canFill(s *State, n int) bool { return m.fillable(s, n) && m.runRoomFor(s, n) }

// runRoomFor reports whether the run's max_parallel lets another instance of task n in; finally does not obey it.
func (m *Machine) runRoomFor(s *State, n int) bool {
	return m.def.Tasks[n].Kind == workflow.KindFinally || m.runHasRoom(s)
}

func (m *Machine) runHasRoom(s *State) bool {
	return m.def.MaxParallel == 0 || s.inflight < m.def.MaxParallel
}

// fill asks for admission for due retries first, then for instances that have not begun, as far as the bounds let it.
func (t *turn) fill(n int) bool {
	m, s := t.m, t.s
	ts, d := s.Tasks[n], &s.tasks[n]
	if len(d.due) > 0 {
		for _, i := range d.due.sorted() {
			if !m.canFill(s, n) {
				break
			}
			if !t.room() {
				return false
			}
			t.queue(n, i)
		}
	}
	for ts.Rest == "" && ts.Begun < ts.Size && m.canFill(s, n) {
		if !t.room() {
			return false
		}
		i := ts.Begun
		ts.Begun++
		s.dirty.task(n)
		s.Instances[n] = append(s.Instances[n], &Instance{})
		if m.def.Tasks[n].BodyKind == workflow.BodyJoin {
			s.Instances[n][i].QueuedAt = t.at
			t.settleInstance(n, i, workflow.Succeeded, "")
			continue
		}
		t.queue(n, i)
	}
	if m.isBlocked(s, n) {
		s.blocked.add(n)
	}
	return true
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
	normal := m.def.Tasks[n].Kind == workflow.KindTask
	s.setStatus(n, i, to)
	if normal {
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
	return ts.Expanded && s.tasks[n].tally.terminal() == ts.Begun && (ts.Begun == ts.Size || ts.Rest != "")
}

// judgeTask ends a task whose instances are all terminal (semantics, "Fan-out").
func (t *turn) judgeTask(n int) {
	m, s := t.m, t.s
	ts, c := s.Tasks[n], &s.tasks[n].tally
	if !m.complete(s, n) {
		return
	}
	rest := ts.Size - ts.Begun
	reason := ts.Reason
	if ts.Size == 1 && ts.Begun == 1 {
		reason = s.Instances[n][0].Reason
		if reason == "" {
			reason = ts.Reason
		}
	}
	status := workflow.Succeeded
	switch {
	case c.succeeded+c.skipped >= ts.MinSuccess:
		reason = ""
		if c.skipped == ts.Size {
			status = workflow.Skipped
		}
	case c.failed > 0:
		status = workflow.Failed
		if ts.Size > 1 {
			reason = fmt.Sprintf("%d of %d instances succeeded, %d needed", c.succeeded+c.skipped, ts.Size, ts.MinSuccess)
		}
	case s.tasks[n].attempted == 0 && c.cancelled == 0 && c.succeeded == 0 && (rest == 0 || ts.Rest == workflow.Omitted):
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
	s.dirty.task(n)
	s.tasks[n].shared = nil
	if m.def.Tasks[n].Kind == workflow.KindFinally {
		s.openFinally--
	} else {
		s.open--
	}
	for _, e := range m.out[n] {
		m.count(s, n, e)
		s.work.add(e.to)
	}
	t.react(n)
}
