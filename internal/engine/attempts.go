// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// admit creates the next attempt of a queued instance.
func (t *turn) admit() {
	m, s, n, i := t.m, t.s, t.e.Task, t.e.Instance
	if n < 0 || n >= len(s.Tasks) || i < 0 || i >= len(s.Instances[n]) {
		return
	}
	in := s.Instances[n][i]
	if in.Status != workflow.Queued || !m.mayStart(s, n) {
		return
	}
	if c := m.scopeOf(s, n); c.attempted != "" || c.drain && s.tasks[n].attempted == 0 {
		return
	}
	if s.Tasks[n].Rest != "" && !m.attempted(s, n, i) {
		return
	}
	body, err := t.prepare(n, i)
	if err != nil {
		t.unmade(n, i, err)
		return
	}
	t.attempt(n, i, body)
	t.handOut(n, i, body)
}

// unmade fails an instance whose attempt cannot be made. If it was queued, the admission answered its Want: there is nothing
// to withdraw.
func (t *turn) unmade(n, i int, err error) {
	in := t.s.Instances[n][i]
	in.Reason, in.EndedAt, in.RetryAt = err.Error(), t.at, 0
	t.move(n, i, workflow.Failed)
	t.s.work.add(n)
	t.despair(n)
}

// attempt records the next attempt of an instance.
func (t *turn) attempt(n, i int, body []byte) {
	m, s := t.m, t.s
	in := s.Instances[n][i]
	if !m.attempted(s, n, i) {
		s.tasks[n].attempted++
	}
	in.Number++
	in.Fence = max(in.Fence+1, int64(t.at)/1e6)
	if in.FirstStart == 0 {
		in.FirstStart = s.activeAt(t.at)
	}
	in.Reason, in.RetryAt = "", 0
	in.Current = &Current{
		Epoch: t.e.Epoch, Generation: s.Head.Generation, BodyHash: hashOf(body), IntentAt: t.at, IntentSince: t.at,
	}
	s.dirty.instance(n, i)
}

// handOut gives the attempt just recorded to whoever runs it.
func (t *turn) handOut(n, i int, body []byte) {
	m, s := t.m, t.s
	s.tasks[n].live.add(i)
	s.live++
	t.move(n, i, workflow.Starting)
	t.emit(Command{Kind: StartAttempt, Attempt: s.attemptID(n, i), Start: m.startOf(s, n, i, body)})
	m.arm(s, n, i)
}

// prepare evaluates what an attempt is started with: the policy, where it is dynamic, and the body.
func (t *turn) prepare(n, i int) (body []byte, err error) {
	m, s := t.m, t.s
	in := s.Instances[n][i]
	number := in.Number + 1
	if number > workflow.MaxAttemptNumber {
		return nil, fmt.Errorf("%d attempts are the most an instance may have over all its retries", workflow.MaxAttemptNumber)
	}
	if m.hasAttemptPolicy(n) {
		p, err := m.attemptPolicy(s, n, i, number)
		if err != nil {
			return nil, err
		}
		in.Policy = p
		s.dirty.instance(n, i)
	}
	return m.body(s, n, i, number)
}

// body renders the body of an attempt from the saved view.
func (m *Machine) body(s *State, n, i, number int) ([]byte, error) {
	v, err := m.eval.Evaluate(*m.def.Tasks[n].Body, workflow.Scope{
		Shared:  m.shared(s, n),
		Each:    m.each(s, n, i),
		Attempt: &workflow.AttemptValues{Number: number},
	})
	return v.JSON, err
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (s *State) attemptID(n, i int) workflow.AttemptID {
	return workflow.MakeAttemptID(s.Input.Run, n, i, s.Instances[n][i].Number)
}

// startOf describes the current attempt of an instance, from what was recorded with it.
func (m *Machine) startOf(s *State, n, i int, body []byte) *Start {
	in, task := s.Instances[n][i], &m.def.Tasks[n]
	p := m.policy(in, n)
	out := &Start{
		Attempt:      s.attemptID(n, i),
		Run:          s.Input.Run,
		Workflow:     s.Input.Workflow,
		Definition:   s.Input.Definition,
		Namespace:    m.def.Namespace,
		Namespaces:   s.Input.Namespaces,
		Priority:     m.def.Priority,
		Task:         task.Name,
		TaskNo:       n,
		Instance:     i,
		Key:          m.Key(s, n, i),
		Number:       in.Number,
		Generation:   in.Current.generation(),
		Epoch:        in.Current.Epoch,
		Fence:        in.Fence,
		IntentAt:     in.Current.IntentAt,
		Body:         body,
		BodyHash:     in.Current.BodyHash,
		Kind:         task.BodyKind,
		Accepted:     in.Current.Accepted,
		Place:        in.Current.Place,
		OnWorkerLoss: p.OnWorkerLoss,
		WorkerLost:   in.Current.WorkerLost,
	}
	for _, o := range task.Outputs {
		out.WantStdout = out.WantStdout || o.From == workflow.FromStdout
		out.WantOutput = out.WantOutput || o.From == workflow.FromFile
	}
	if task.BodyKind == workflow.BodyRunWorkflow {
		out.Child, out.ChildGeneration, out.Depth = in.Current.Place.Child, in.Current.ChildGeneration, s.Input.Depth+1
		if verdict, _ := m.doom(s, n, in); verdict != "" {
			out.Terminate = s.Head.Terminated
		} else {
			out.Hold = s.Head.holding()
		}
	}
	if p.Retry.AvoidNodes {
		for _, a := range in.Past {
			if a.Generation >= s.Tasks[n].Generation && a.Verdict != workflow.VerdictSucceeded && a.Place.Node != "" {
				out.AvoidNodes = append(out.AvoidNodes, a.Place.Node)
			}
		}
	}
	return out
}

// command is what the live attempt of an instance waits for: to be started or to be killed.
func (m *Machine) command(s *State, n, i int) Command {
	in := s.Instances[n][i]
	body, err := m.body(s, n, i, in.Number)
	if err != nil || hashOf(body) != in.Current.BodyHash {
		body = nil // Start.Body says what that means
	}
	kind := StartAttempt
	if verdict, _ := m.doom(s, n, in); verdict != "" {
		kind = KillAttempt
	}
	return Command{Kind: kind, Attempt: s.attemptID(n, i), Start: m.startOf(s, n, i, body)}
}

// observe handles what an executor reports about an attempt. Whatever is not about the attempt in flight is stale.
func (t *turn) observe() {
	m, s, e := t.m, t.s, &t.e
	run, n, i, number, err := e.Attempt.Parse()
	if err != nil || run != s.Input.Run || n >= len(s.Tasks) || i >= len(s.Instances[n]) {
		return
	}
	in := s.Instances[n][i]
	if m.def.Tasks[n].BodyKind.Engine() {
		return // nobody else runs it
	}
	if in.Current == nil || in.Number != number {
		if e.Kind == Ended && number <= in.Number {
			t.emit(Command{Kind: Settle, Attempt: e.Attempt})
		}
		return
	}
	c := in.Current
	if e.Kind == WorkerLost {
		if due, err := m.fitsWorkerLost(s, *e); !due || err != nil {
			return
		}
	}
	if merged := mergePlace(c.Place, e.Place); merged != c.Place {
		c.Place = merged
		s.dirty.instance(n, i)
	}
	switch e.Kind {
	case Accepted:
		if c.Accepted == 0 {
			c.Accepted = max(e.Index, 1)
			s.dirty.instance(n, i)
		}
	case Refused:
		if c.Accepted != 0 || in.Status != workflow.Starting {
			return
		}
		c.IntentAt, c.Message = t.at, e.Message
		s.dirty.instance(n, i)
		t.emit(m.command(s, n, i))
	case Held:
		if in.Status != workflow.Starting {
			return
		}
		if c.Message != e.Message || e.Impossible != (c.ImpossibleSince != 0) {
			c.Message = e.Message
			switch {
			case !e.Impossible:
				c.ImpossibleSince = 0
			case c.ImpossibleSince == 0:
				c.ImpossibleSince = t.at
			}
			s.dirty.instance(n, i)
			m.arm(s, n, i)
		}
	case Started:
		if in.Status != workflow.Starting {
			return
		}
		c.StartedAt, c.Observed, c.Message = e.StartedAt, t.at, ""
		if m.def.Tasks[n].BodyKind == workflow.BodyRunWorkflow {
			c.Observed = s.activeAt(t.at)
		}
		if c.StartedAt == 0 {
			c.StartedAt = t.at
		}
		t.move(n, i, workflow.Running)
		m.arm(s, n, i)
	case ChildPaused, ChildResumed:
		t.childRests(n, i, e.Kind == ChildPaused)
	case WorkerLost:
		t.loseWorker(n, i)
	case Ended:
		if e.Outcome != nil {
			t.ended(n, i)
		}
	}
}

// loseWorker ends an attempt whose worker is taken for dead: the intent is saved before anybody acts.
func (t *turn) loseWorker(n, i int) {
	c := t.s.Instances[n][i].Current
	c.WorkerLost = true
	if verdict, _ := t.m.doom(t.s, n, t.s.Instances[n][i]); verdict == "" {
		c.Kill, c.KillWhy = workflow.VerdictLost, t.e.Message
	}
	t.s.dirty.instance(n, i)
	t.emit(t.m.command(t.s, n, i))
}

// fitsWorkerLost reports whether the loss of a worker is news for an attempt, and one that it heeds.
func (m *Machine) fitsWorkerLost(s *State, e Event) (due bool, err error) {
	run, n, i, number, err := e.Attempt.Parse()
	if err != nil || run != s.Input.Run || n >= len(s.Tasks) || i >= len(s.Instances[n]) {
		return false, misfit("run %s has no attempt %s", s.Input.Run, e.Attempt)
	}
	in, kind := s.Instances[n][i], m.def.Tasks[n].BodyKind
	c := in.Current
	dying := false
	if c != nil {
		verdict, _ := m.doom(s, n, in)
		dying = verdict != ""
	}
	switch {
	case !kind.Cluster():
		return false, misfit("attempt %s has no worker", e.Attempt)
	case c == nil || in.Number != number || c.WorkerLost:
		return false, nil // it is over, or does not wait any more
	case c.Accepted == 0 || c.Place.Node != "" && c.Place.Node != e.Place.Node:
		return false, misfit("attempt %s is not on worker %s", e.Attempt, e.Place.Node)
	case !dying && (kind == workflow.BodyJob || kind == workflow.BodyDispatch):
		return false, misfit("attempt %s is a job of its own, which Nomad moves by its rules", e.Attempt)
	case e.By == "" && m.policy(in, n).OnWorkerLoss.Mode != workflow.Immediate:
		return false, misfit("attempt %s waits until its worker has certainly stopped it", e.Attempt)
	}
	return true, nil
}

func mergePlace(old, add Place) Place {
	if add.Node != "" {
		old.Node = add.Node
	}
	if add.JobID != "" {
		old.JobID = add.JobID
	}
	if add.AllocID != "" {
		old.AllocID = add.AllocID
	}
	if add.PID != 0 {
		old.PID = add.PID
	}
	return old // the child was decided when the attempt was made
}

// kill begins to end a live attempt; verdict is what it gets when it dies of that.
func (t *turn) kill(n, i int, verdict workflow.Verdict, why string) {
	in := t.s.Instances[n][i]
	if in.Current == nil || in.Current.Kill != "" {
		return
	}
	if t.m.def.Tasks[n].BodyKind.Engine() {
		status := workflow.Failed
		if verdict == workflow.VerdictCancelled {
			status = workflow.Cancelled
		}
		t.endOwn(n, i, verdict, why, nil)
		t.settleInstance(n, i, status, why)
		return
	}
	in.Current.Kill, in.Current.KillWhy = verdict, why
	t.s.dirty.instance(n, i)
	t.emit(t.m.command(t.s, n, i))
}

// ended writes the verdict of the attempt in flight and decides what follows.
func (t *turn) ended(n, i int) {
	m, s := t.m, t.s
	in, o := s.Instances[n][i], t.e.Outcome
	doom, why := m.doom(s, n, in)
	a := Attempt{
		Number: in.Number, Generation: in.Current.generation(), ExitCode: o.ExitCode, Signal: o.Signal, OOM: o.OOM,
		Message: o.Message, Place: in.Current.Place, Fence: in.Fence, QueuedAt: in.QueuedAt,
		StartedAt: in.Current.StartedAt, EndedAt: t.at,
	}
	if o.StartedAt != 0 {
		a.StartedAt = o.StartedAt
	}
	if o.EndedAt != 0 {
		a.EndedAt = o.EndedAt
	}
	if c := in.Current; c.Place.Child != "" {
		a.BodyHash, a.ChildGeneration = c.BodyHash, max(c.ChildGeneration, t.e.Generation)
	}
	retryable := true
	switch o.Kind {
	case OutcomeExited:
		t.judgeExit(n, &a)
	case OutcomeKilled, OutcomeInterrupted, OutcomeEvicted:
		a.Verdict = workflow.VerdictInterrupted
		if doom != "" {
			a.Verdict = doom
			if a.Message == "" || doom != workflow.VerdictCancelled {
				a.Message = why
			}
		}
	case OutcomeLost:
		a.Verdict = workflow.VerdictLost
	case OutcomeTimedOut:
		a.Verdict = workflow.VerdictTimedOut
	case OutcomeInvalid:
		a.Verdict, retryable = workflow.VerdictError, false
	case OutcomeFailed:
		a.Verdict = workflow.VerdictFailed
	case OutcomeSkipped:
		a.Verdict = workflow.VerdictSucceeded
	default:
		a.Verdict = workflow.VerdictError
	}
	id := s.attemptID(n, i)
	if s.Head.rests(in.Current) {
		s.idle--
	}
	t.pastOf(n, i, a)
	s.tasks[n].live.del(i)
	s.live--
	t.emit(Command{Kind: Settle, Attempt: id})
	t.follow(n, i, &a, doom, retryable)
}

// pastOf makes the attempt in flight one that is over.
func (t *turn) pastOf(n, i int, a Attempt) {
	in := t.s.Instances[n][i]
	in.Current = nil
	in.Past = append(in.Past, a)
	t.s.dirty.pack(n, i, len(in.Past)-1)
	t.s.dirty.instance(n, i)
}

// judgeExit decides between succeeded and failed for an attempt that ended by itself, whatever was asked of it.
func (t *turn) judgeExit(n int, a *Attempt) {
	o := t.e.Outcome
	switch {
	case o.OOM:
		a.Verdict = workflow.VerdictFailed
		if a.Message == "" {
			a.Message = "out of memory"
		}
		return
	case o.Signal != 0:
		a.Verdict = workflow.VerdictFailed
		if a.Message == "" {
			a.Message = fmt.Sprintf("ended by signal %d", o.Signal)
		}
		return
	case o.ExitCode == nil || *o.ExitCode != 0:
		a.Verdict = workflow.VerdictFailed
		if a.Message == "" && o.ExitCode != nil {
			a.Message = fmt.Sprintf("exit code %d", *o.ExitCode)
		}
		return
	}
	a.Verdict = workflow.VerdictSucceeded
	if err := t.readOutputs(n, a); err != nil {
		a.Verdict, a.Outputs, a.Message = workflow.VerdictFailed, nil, err.Error()
	}
}
