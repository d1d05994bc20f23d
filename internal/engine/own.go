// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Approval and wait are the engine's own: their attempt is recorded, never handed out, and ends by a verb or by a timer.

// open makes the attempt of an approval or a wait. A wait that is over already ends with that.
func (t *turn) open(n, i int) {
	m, s := t.m, t.s
	body, err := t.prepare(n, i)
	if err != nil {
		t.unmade(n, i, err)
		return
	}
	c, err := m.ownBody(n, body, t.at)
	if err != nil {
		t.unmade(n, i, fmt.Errorf("%s: %w", place(m.def.Tasks[n].Range), err))
		return
	}
	t.attempt(n, i, body)
	in := s.Instances[n][i]
	in.QueuedAt = t.at
	in.Current.StartedAt, in.Current.Due = t.at, c.Due
	in.Current.OnTimeout, in.Current.Approvers = c.OnTimeout, c.Approvers
	if m.def.Tasks[n].BodyKind == workflow.BodyWait && c.Due <= t.at {
		t.endOwn(n, i, workflow.VerdictSucceeded, "", nil)
		t.settleInstance(n, i, workflow.Succeeded, "")
		return
	}
	t.move(n, i, workflow.Waiting)
	m.arm(s, n, i)
}

// ownBody reads what an approval or a wait rendered to.
func (m *Machine) ownBody(n int, body []byte, now workflow.Time) (c Current, err error) {
	if m.def.Tasks[n].BodyKind == workflow.BodyWait {
		var w workflow.WaitBody
		if err := json.Unmarshal(body, &w); err != nil {
			return c, fmt.Errorf("`wait` cannot be read: %w", err)
		}
		if w.Duration < 0 {
			return c, fmt.Errorf("`wait`: the duration %s is negative", w.Duration)
		}
		if c.Due = w.Until; c.Due == 0 {
			c.Due = now.Add(w.Duration)
		}
		return c, nil
	}
	var a workflow.ApprovalBody
	if err := json.Unmarshal(body, &a); err != nil {
		return c, fmt.Errorf("`approval` cannot be read: %w", err)
	}
	if a.Timeout < 0 {
		return c, fmt.Errorf("`approval`: the timeout %s is negative", a.Timeout)
	}
	c.OnTimeout, c.Approvers = a.OnTimeout, a.Approvers
	switch a.OnTimeout {
	case workflow.OnTimeoutReject, workflow.OnTimeoutApprove:
	case "":
		c.OnTimeout = workflow.OnTimeoutReject
	default:
		return c, fmt.Errorf("`approval`: on_timeout must be %q or %q, not %q", workflow.OnTimeoutReject, workflow.OnTimeoutApprove, a.OnTimeout)
	}
	// Finally tasks always have a timeout: nothing but terminate would end them.
	if a.Timeout == 0 && m.def.Tasks[n].Kind == workflow.KindFinally {
		a.Timeout = workflow.FinallyTimeout
	}
	if a.Timeout > 0 {
		c.Due = now.Add(a.Timeout)
	}
	return c, nil
}

// endOwn writes the verdict of an approval or a wait.
func (t *turn) endOwn(n, i int, verdict workflow.Verdict, message string, outputs map[string]workflow.Value) {
	in := t.s.Instances[n][i]
	c := in.Current
	t.s.outputBytes += outputSize(outputs)
	t.pastOf(n, i, Attempt{
		Number: in.Number, Generation: c.generation(), Verdict: verdict, Message: message, Fence: in.Fence,
		QueuedAt: in.QueuedAt, StartedAt: c.StartedAt, EndedAt: t.at, Outputs: outputs,
	})
}

// ringOwn is the time of an approval or a wait.
func (t *turn) ringOwn(n, i int) {
	c := t.s.Instances[n][i].Current
	if t.m.def.Tasks[n].BodyKind == workflow.BodyWait {
		t.endOwn(n, i, workflow.VerdictSucceeded, "", nil)
		t.settleInstance(n, i, workflow.Succeeded, "")
		return
	}
	passed := "nobody decided within " + c.Due.Sub(c.IntentSince).Truncate(time.Second).String()
	if c.OnTimeout != workflow.OnTimeoutApprove {
		t.reject(n, i, passed)
		return
	}
	outputs, err := t.m.inputs(t.s, n, nil)
	if err != nil {
		t.reject(n, i, passed+", and it cannot be approved: "+err.Error())
		return
	}
	t.approve(n, i, "approved: "+passed, outputs)
}

func (t *turn) approve(n, i int, message string, outputs map[string]workflow.Value) {
	t.endOwn(n, i, workflow.VerdictSucceeded, message, outputs)
	t.settleInstance(n, i, workflow.Succeeded, "")
}

// reject fails an approval for good.
func (t *turn) reject(n, i int, message string) {
	t.endOwn(n, i, workflow.VerdictFailed, message, nil)
	t.settleInstance(n, i, workflow.Failed, message)
}

// The outputs of an approval that say who decided and what they said.
const (
	outputBy      = "by"
	outputComment = "comment"
)

// inputs converts what somebody typed into an approval to the types of its inputs, and fills in the defaults.
func (m *Machine) inputs(s *State, n int, given map[string]workflow.Value) (map[string]workflow.Value, error) {
	out, err := m.typed(s, n, "input", given)
	if err != nil {
		return nil, err
	}
	task := &m.def.Tasks[n]
	for _, o := range task.Outputs {
		if _, ok := given[o.Name]; !ok && o.Default == nil && o.Name != outputBy && o.Name != outputComment {
			return nil, fmt.Errorf("input %s of %s is missing, and it has no default", o.Name, task.Name)
		}
	}
	return out, nil
}

// typed converts values given by hand to the types of a task's outputs. What it may not name is refused.
func (m *Machine) typed(s *State, n int, what string, given map[string]workflow.Value) (map[string]workflow.Value, error) {
	task := &m.def.Tasks[n]
	declared := make(map[string]*workflow.Output, len(task.Outputs))
	for k := range task.Outputs {
		if o := &task.Outputs[k]; what != "input" || o.Name != outputBy && o.Name != outputComment {
			declared[o.Name] = o
		}
	}
	for _, name := range sortedKeys(given) {
		if declared[name] == nil {
			return nil, fmt.Errorf("%s has no %s %s", task.Name, what, name)
		}
	}
	var out map[string]workflow.Value
	total := 0
	for _, o := range task.Outputs {
		v, ok := given[o.Name]
		if !ok || v.Null() {
			if ok && o.Default == nil {
				return nil, fmt.Errorf("%s %s of %s is null, and it has no default", what, o.Name, task.Name)
			}
			continue
		}
		if err := m.convert(&out, &o, v.JSON, &total); err != nil {
			return nil, fmt.Errorf("%s %s of %s: %w", what, o.Name, task.Name, err)
		}
	}
	return out, m.sizes(s, total)
}
