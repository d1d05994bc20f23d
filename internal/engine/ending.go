// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// failing reports whether task n, as it stands, makes the run failed unless it is recovered.
func (m *Machine) failing(s *State, n int) bool {
	ts := s.Tasks[n]
	switch ts.Status {
	case workflow.Failed:
		return !ts.AllowFailure
	case workflow.Cancelled:
		return ts.ByHand && !ts.AllowFailure
	}
	return false
}

// recovery tells what the `recovers` handlers directly below a failing task made of it: done, and whether it may still
// come. A failure counts only if it had happened when the handler started.
func (m *Machine) recovery(s *State, n int) (done, possible bool) {
	for _, e := range m.out[n] {
		task, ts := &m.def.Tasks[e.to], s.Tasks[e.to]
		if !e.rule || !task.Recovers || !task.TriggerRule.Handler() {
			continue
		}
		saw := true
		for _, p := range ts.Unseen {
			saw = saw && p != n
		}
		switch {
		case ts.Status == workflow.Succeeded && saw:
			return true, true
		case !ts.Status.Terminal() && (saw || ts.Status == workflow.Pending):
			possible = true
		}
	}
	return false, possible
}

// Recovered reports whether the failure of task n was cleared by a handler that recovers.
func (m *Machine) Recovered(s *State, n int) bool {
	if !m.failing(s, n) {
		return false
	}
	done, _ := m.recovery(s, n)
	return done
}

// FailedTasks names the tasks that make the run failed, in declaration order.
func (m *Machine) FailedTasks(s *State) []string {
	names := []string{}
	for n := range s.Tasks {
		if m.failing(s, n) && !m.Recovered(s, n) {
			names = append(names, m.def.Tasks[n].Name)
		}
	}
	return names
}

// failedBefore is FailedTasks without finally: what finally itself reads as run.failed_tasks.
func (m *Machine) failedBefore(s *State) []string {
	names := []string{}
	for n := range s.Tasks {
		if m.def.Tasks[n].Kind == workflow.KindTask && m.failing(s, n) && !m.Recovered(s, n) {
			names = append(names, m.def.Tasks[n].Name)
		}
	}
	return names
}

// react applies on_failure when the end of task n makes a failure final: its own, or that of a task it might have recovered.
func (t *turn) react(n int) {
	m := t.m
	if m.def.Tasks[n].Kind == workflow.KindFinally || m.def.OnFailure == workflow.OnFailureContinue {
		return
	}
	candidates := []int{n}
	if m.def.Tasks[n].Recovers {
		candidates = append(candidates, m.graph.Rule(n)...)
	}
	for _, c := range candidates {
		if !m.failing(t.s, c) {
			continue
		}
		if done, possible := m.recovery(t.s, c); done || possible {
			continue
		}
		if m.def.OnFailure == workflow.OnFailureDrain {
			t.end(EndingDrain, "")
		} else {
			t.end(EndingFailFast, "")
		}
		return
	}
}

// outranks orders the endings: a stop outranks a timeout, a timeout outranks on_failure.
func (e Ending) outranks(other Ending) bool {
	rank := map[Ending]int{EndingDrain: 1, EndingFailFast: 1, EndingTimeout: 2, EndingStop: 3, EndingSkip: 4}
	return rank[e] > rank[other]
}

// end makes the run begin nothing new.
func (t *turn) end(e Ending, reason string) {
	h := &t.s.Head
	if !e.outranks(h.Ending) {
		return
	}
	t.dooming(func() {
		h.Ending = e
		if reason != "" {
			h.Reason = reason
		}
		t.s.dirty.markHead()
		if e == EndingTimeout || e == EndingStop {
			t.changeStatus(workflow.RunStopping)
		}
	})
}

// dooming makes a change that may end what runs, kills what it dooms and has every task looked at.
func (t *turn) dooming(change func()) {
	before := t.doomed()
	change()
	t.killNewly(before)
	t.lookAtAll()
}

// doomed lists the live attempts that are being killed already, and whether that is all there is to say: a child run that is
// being stopped may still have to be terminated.
func (t *turn) doomed() map[[2]int]bool {
	set := map[[2]int]bool{}
	t.eachLive(func(n, i int) {
		if v, _ := t.m.doom(t.s, n, t.s.Instances[n][i]); v != "" {
			set[[2]int{n, i}] = t.s.Head.Terminated || t.m.def.Tasks[n].BodyKind != workflow.BodyRunWorkflow
		}
	})
	return set
}

// killNewly sends the kills that follow from what changed since before.
func (t *turn) killNewly(before map[[2]int]bool) {
	t.eachLive(func(n, i int) {
		v, _ := t.m.doom(t.s, n, t.s.Instances[n][i])
		if said, dying := before[[2]int{n, i}]; v != "" && (!dying || !said && t.s.Head.Terminated) {
			t.emit(t.m.command(t.s, n, i))
		}
	})
}

func (t *turn) eachLive(f func(n, i int)) {
	if t.s.live == 0 {
		return
	}
	for n := range t.s.tasks {
		for _, i := range t.s.tasks[n].live.sorted() {
			f(n, i)
		}
	}
}

// changeStatus changes the run's status; queued instances ask for admission again or withdraw, and child runs are paused or
// go on, as it lets them.
func (t *turn) changeStatus(to workflow.RunStatus) {
	held := t.s.Head.holding()
	t.regate(func() {
		h := &t.s.Head
		if h.PausedAt != 0 && to != workflow.RunPaused {
			h.PausedTotal += t.at.Sub(h.PausedAt)
			h.PausedAt = 0
		}
		if to == workflow.RunPaused {
			h.PausedAt = t.at
		}
		h.Status = to
	})
	if t.s.Head.holding() != held {
		t.hold()
	}
}

// regate makes a change and tells the shell about the wants that it opens or closes.
func (t *turn) regate(change func()) {
	m, s := t.m, t.s
	before := make([]bool, 0, 2)
	first := map[workflow.TaskKind]int{}
	for n := range m.def.Tasks {
		if _, ok := first[m.def.Tasks[n].Kind]; !ok {
			first[m.def.Tasks[n].Kind] = n
		}
	}
	kinds := []workflow.TaskKind{workflow.KindTask, workflow.KindFinally}
	open := func(k workflow.TaskKind) bool {
		n, ok := first[k]
		return ok && m.mayStart(s, n)
	}
	for _, k := range kinds {
		before = append(before, open(k))
	}
	change()
	s.dirty.markHead()
	for ki, k := range kinds {
		now := open(k)
		if now == before[ki] {
			continue
		}
		kind := Withdraw
		if now {
			kind = Want
		}
		for n := range s.tasks {
			if m.def.Tasks[n].Kind != k {
				continue
			}
			for _, i := range s.tasks[n].queued.sorted() {
				t.emit(Command{Kind: kind, Task: n, Instance: i})
			}
		}
	}
}

// conclude lets the run become paused, begin finally, or end.
func (t *turn) conclude() {
	m, s := t.m, t.s
	h := &s.Head
	if h.Status.Terminal() || m.unfinished(s) {
		return
	}
	if h.Status == workflow.RunQueued {
		if h.Ending == EndingSkip && s.open == 0 && s.openFinally == 0 {
			t.finish()
		}
		return
	}
	if s.open == 0 && !h.FinallyBegun && (s.openFinally == 0 || h.Status == workflow.RunRunning || h.Status == workflow.RunStopping) {
		h.FinallyBegun = true
		h.Verdict, h.VerdictReason = m.verdict(s)
		s.dirty.markHead()
		for n := range s.Tasks {
			if m.def.Tasks[n].Kind == workflow.KindFinally && !s.Tasks[n].Status.Terminal() {
				s.work.add(n)
			}
		}
		t.drain()
	}
	if s.open == 0 && s.openFinally == 0 {
		t.finish()
		return
	}
	if h.Status == workflow.RunPausing && s.live == s.idle {
		t.changeStatus(workflow.RunPaused)
	}
}

// verdict is how the run ends as it stands: the first rule that holds (semantics, "How a run ends"), finally left out.
func (m *Machine) verdict(s *State) (workflow.RunStatus, string) {
	switch s.Head.Ending {
	case EndingStop:
		return workflow.RunCancelled, s.Head.Reason
	case EndingTimeout:
		return workflow.RunFailed, "timeout"
	}
	if failed := m.failedBefore(s); len(failed) > 0 {
		return workflow.RunFailed, failureOf(m, s, failed)
	}
	return workflow.RunSucceeded, ""
}

func failureOf(m *Machine, s *State, failed []string) string {
	n, _ := m.graph.Number(failed[0])
	reason := "task " + failed[0] + " " + string(s.Tasks[n].Status)
	if len(failed) > 1 {
		reason = "tasks " + failed[0] + " and " + plural(len(failed)-1, "other") + " failed"
	} else if s.Tasks[n].Reason != "" {
		reason += ": " + s.Tasks[n].Reason
	}
	return reason
}

func (t *turn) finish() {
	m, s := t.m, t.s
	h := &s.Head
	status, reason := h.Verdict, h.VerdictReason
	switch h.Ending {
	case EndingStop:
		status, reason = workflow.RunCancelled, h.Reason
	case EndingSkip:
		status, reason = workflow.RunSkipped, h.Reason
	}
	if status == workflow.RunSucceeded || status == workflow.RunFailed && reason != "timeout" {
		for n := range s.Tasks {
			if m.def.Tasks[n].Kind == workflow.KindFinally && m.failing(s, n) {
				status, reason = workflow.RunFailed, "finally task "+m.def.Tasks[n].Name+" "+string(s.Tasks[n].Status)
				if s.Tasks[n].Reason != "" {
					reason += ": " + s.Tasks[n].Reason
				}
				break
			}
		}
	}
	if status == workflow.RunSkipped {
		// It has nothing to give.
	} else if why := t.runOutputs(); why != "" && status == workflow.RunSucceeded {
		status, reason = workflow.RunFailed, why
	}
	if h.PausedAt != 0 {
		h.PausedTotal += t.at.Sub(h.PausedAt)
		h.PausedAt = 0
	}
	h.Status, h.Reason, h.EndedAt = status, reason, t.at
	s.dirty.markHead()
	t.emit(Command{Kind: Finish})
}

// runOutputs evaluates the run's own outputs; one that cannot be evaluated is null and is returned as a reason.
func (t *turn) runOutputs() (why string) {
	m, s := t.m, t.s
	if len(m.def.Outputs) == 0 {
		return ""
	}
	s.Head.Outputs = make(map[string]workflow.Value, len(m.def.Outputs))
	for _, o := range m.def.Outputs {
		v, err := m.eval.Evaluate(o.Value, workflow.Scope{Shared: m.sharedOf(s, o.Refs, nil, false)})
		if err != nil {
			v = workflow.Value{}
			if why == "" {
				why = "output " + o.Name + ": " + err.Error()
			}
		}
		v.Sensitive = v.Sensitive || o.Sensitive
		s.Head.Outputs[o.Name] = v
	}
	return why
}
