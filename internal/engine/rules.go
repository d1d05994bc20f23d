// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// decision is what becomes of a pending task. The zero decision is to wait; without start or status nothing changes.
type decision struct {
	start  bool
	status workflow.Status // terminal without ever starting
	reason string
	branch bool // skipped, and dependents under all_success with it
}

func never(status workflow.Status, reason string) decision {
	return decision{status: status, reason: reason}
}

// decide applies the ending of the run and the trigger rule to a pending task.
func (m *Machine) decide(s *State, n int) decision {
	task := &m.def.Tasks[n]
	if status, why := m.scopeOf(s, n).pending(); status != "" {
		return never(status, why)
	}
	if task.Kind == workflow.KindFinally {
		if !s.Head.FinallyBegun {
			return decision{}
		}
		return m.gate(s, n, m.rule(s, n))
	}
	if s.Head.Status == workflow.RunQueued {
		return decision{}
	}
	d := m.rule(s, n)
	if s.Head.Ending != EndingDrain && s.Head.Ending != EndingFailFast {
		return m.gate(s, n, d)
	}
	return m.gate(s, n, m.spare(s, n, d))
}

// gate holds a start back while the run is paused.
func (m *Machine) gate(s *State, n int, d decision) decision {
	if d.start && !m.mayStart(s, n) {
		return decision{}
	}
	return d
}

// spare applies drain and fail_fast to a task that has not begun: handlers below a failed task go on, tasks all of whose
// edges come from such handlers too, everything else is omitted.
func (m *Machine) spare(s *State, n int, d decision) decision {
	omitted := never(workflow.Omitted, "on_failure = \""+string(s.Head.Ending)+"\"")
	task, preds := &m.def.Tasks[n], m.graph.Predecessors(n)
	handler := task.TriggerRule.Handler() || task.TriggerRule == workflow.AllDone
	if len(preds) == 0 {
		return omitted
	}
	if handler {
		if d.start && !m.exempt(s, n) {
			return omitted
		}
		return d
	}
	for _, p := range preds {
		if ts := s.Tasks[p]; ts.Status != workflow.Pending && !ts.Exempt {
			return omitted
		}
	}
	if d.start && !m.exempt(s, n) {
		return decision{} // an edge is still undecided
	}
	return d
}

// exempt reports whether a task that begins now is spared by drain and fail_fast.
func (m *Machine) exempt(s *State, n int) bool {
	task, preds := &m.def.Tasks[n], m.graph.Predecessors(n)
	if task.Kind == workflow.KindFinally || len(preds) == 0 {
		return false
	}
	if task.TriggerRule.Handler() || task.TriggerRule == workflow.AllDone {
		for _, p := range m.graph.Rule(n) {
			if s.Tasks[p].Status == workflow.Failed {
				return true
			}
		}
	}
	for _, p := range preds {
		if !s.Tasks[p].Exempt {
			return false
		}
	}
	return true
}

// rule applies the trigger rule (semantics, "When a task starts").
func (m *Machine) rule(s *State, n int) decision {
	d, total := &s.tasks[n], len(m.graph.Rule(n))
	allTerminal := d.terminal == total
	met := decision{start: d.dataOpen == 0}
	switch m.def.Tasks[n].TriggerRule {
	case workflow.AllSuccess:
		switch {
		case d.bad > 0:
			return never(workflow.Omitted, m.becauseOf(s, n, isBad))
		case d.skipBranch > 0:
			out := never(workflow.Skipped, m.becauseOf(s, n, skipsBranch))
			out.branch = true
			return out
		case allTerminal:
			return met
		}
	case workflow.NoneFailed:
		switch {
		case d.bad > 0:
			return never(workflow.Omitted, m.becauseOf(s, n, isBad))
		case allTerminal:
			return met
		}
	case workflow.AllDone:
		if allTerminal {
			return met
		}
	case workflow.OneSuccess:
		switch {
		case d.succeeded > 0:
			return met
		case allTerminal && d.bad > 0:
			return never(workflow.Omitted, "no predecessor succeeded")
		case allTerminal:
			return never(workflow.Skipped, "no predecessor succeeded")
		}
	case workflow.OneFailed:
		switch {
		case d.failed > 0:
			return met
		case allTerminal:
			return never(workflow.Skipped, "no predecessor failed")
		}
	case workflow.AllFailed:
		switch {
		case d.ok > 0:
			return never(workflow.Skipped, m.becauseOf(s, n, func(p *TaskState) bool { return p.Status.OK() }))
		case allTerminal && d.failed > 0:
			return met
		case allTerminal:
			return never(workflow.Omitted, "no predecessor failed")
		}
	}
	return decision{}
}

// isBad is BAD as all_success and none_failed see it: a failure that is allowed is OK to them.
func isBad(p *TaskState) bool {
	return p.Status.Bad() && !(p.Status == workflow.Failed && p.AllowFailure)
}

func skipsBranch(p *TaskState) bool { return p.SkipBranch }

// becauseOf names the first predecessor that which holds for.
func (m *Machine) becauseOf(s *State, n int, which func(*TaskState) bool) string {
	for _, p := range m.graph.Rule(n) {
		if which(s.Tasks[p]) {
			return m.def.Tasks[p].Name + " " + string(s.Tasks[p].Status)
		}
	}
	return ""
}

// lenient reports whether a rule takes an allowed failure for OK.
func lenient(r workflow.TriggerRule) bool {
	return r == workflow.AllSuccess || r == workflow.NoneFailed
}

// count adds, by times 1, what predecessor p, which is terminal, means to the task at the other end of e, or takes it away,
// by times -1.
func (m *Machine) count(s *State, p int, e outEdge, times int) {
	d, ts := &s.tasks[e.to], s.Tasks[p]
	if e.data {
		d.dataOpen -= times
	}
	if !e.rule {
		return
	}
	d.terminal += times
	allowed := ts.Status == workflow.Failed && ts.AllowFailure && lenient(m.def.Tasks[e.to].TriggerRule)
	switch {
	case ts.Status.OK() || allowed:
		d.ok += times
	case ts.Status.Bad():
		d.bad += times
	}
	switch ts.Status {
	case workflow.Succeeded:
		d.succeeded += times
	case workflow.Failed:
		d.failed += times
	}
	if ts.SkipBranch {
		d.skipBranch += times
	}
}

// scope says that a task is being ended from outside: the statuses its instances get. The zero scope leaves it alone.
type scope struct {
	attempted workflow.Status // instances that wait or queue and had an attempt; empty: they go on
	rest      workflow.Status // instances without one
	why       string
	// drain ends the task only when nothing of it was attempted.
	drain bool
}

// scopeOf derives the scope of a task: by hand, by fail_fast in its own fan-out, or by the run's ending.
func (m *Machine) scopeOf(s *State, n int) scope {
	ts := s.Tasks[n]
	if g := ts.Given; g != nil && !g.Next {
		return scope{g.Status, g.Status, g.Why, false}
	}
	if s.Head.Ending == EndingSkip {
		return scope{workflow.Omitted, workflow.Omitted, "run skipped", false}
	}
	switch ts.Cancelling {
	case CancelByHand:
		return scope{workflow.Cancelled, workflow.Cancelled, "cancelled by hand", false}
	case CancelFailFast:
		return scope{workflow.Cancelled, workflow.Omitted, "fail_fast: it cannot succeed any more", false}
	}
	if m.def.Tasks[n].Kind == workflow.KindFinally {
		if s.Head.Terminated {
			return scope{workflow.Cancelled, workflow.Cancelled, "run terminated", false}
		}
		return scope{}
	}
	switch s.Head.Ending {
	case EndingStop:
		if s.Head.Terminated {
			return scope{workflow.Cancelled, workflow.Cancelled, "run terminated", false}
		}
		return scope{workflow.Cancelled, workflow.Cancelled, "run stopped", false}
	case EndingTimeout:
		return scope{workflow.Cancelled, workflow.Cancelled, "run timed out", false}
	case EndingFailFast:
		if ts.Status != workflow.Pending && !ts.Exempt {
			return scope{workflow.Cancelled, workflow.Omitted, "on_failure = \"fail_fast\"", false}
		}
	case EndingDrain:
		if ts.Status != workflow.Pending && !ts.Exempt {
			return scope{"", workflow.Omitted, "on_failure = \"drain\"", true}
		}
	}
	return scope{}
}

// pending is the status that the scope gives a task that has not begun; drain and fail_fast decide that by edges (spare).
func (c scope) pending() (workflow.Status, string) { return c.rest, c.why }

// doom returns the verdict that a live attempt gets when it dies of Cairn's kill, and why; "" when it is not being killed.
func (m *Machine) doom(s *State, n int, in *Instance) (workflow.Verdict, string) {
	if in.Current.Kill != "" {
		return in.Current.Kill, in.Current.KillWhy
	}
	if c := m.scopeOf(s, n); c.attempted != "" {
		return workflow.VerdictCancelled, c.why
	}
	return "", ""
}

// Dying reports whether the attempt in flight of an instance is being killed, and why.
func (m *Machine) Dying(s *State, n, i int) (why string, dying bool) {
	if i >= len(s.Instances[n]) || s.Instances[n][i].Current == nil {
		return "", false
	}
	verdict, why := m.doom(s, n, s.Instances[n][i])
	return why, verdict != ""
}

// mayStart reports whether something of task n may start now, as far as the run is concerned.
func (m *Machine) mayStart(s *State, n int) bool {
	switch s.Head.Status {
	case workflow.RunRunning:
		return true
	case workflow.RunStopping:
		return m.def.Tasks[n].Kind == workflow.KindFinally && !s.Head.Terminated
	}
	return false
}
