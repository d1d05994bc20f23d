// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// policy is the policy that holds for an instance: as evaluated for its newest attempt, or the task's own.
func (m *Machine) policy(in *Instance, n int) *workflow.Policy {
	if in.Policy != nil {
		return in.Policy
	}
	return &m.def.Tasks[n].Policy
}

func (m *Machine) hasAttemptPolicy(n int) bool {
	for _, x := range m.def.Tasks[n].Dynamic {
		if !workflow.PerTaskAttr(x.Attr) {
			return true
		}
	}
	return false
}

// taskPolicy evaluates what belongs to the task as a whole.
func (m *Machine) taskPolicy(s *State, n int) (*workflow.Policy, error) {
	return m.overlay(n, workflow.Scope{Shared: m.shared(s, n)}, true)
}

// attemptPolicy evaluates what belongs to one attempt.
func (m *Machine) attemptPolicy(s *State, n, i, number int) (*workflow.Policy, error) {
	return m.overlay(n, workflow.Scope{
		Shared: m.shared(s, n), Each: m.each(s, n, i), Attempt: &workflow.AttemptValues{Number: number},
	}, false)
}

func (m *Machine) overlay(n int, scope workflow.Scope, perTask bool) (*workflow.Policy, error) {
	p := m.def.Tasks[n].Policy
	for _, x := range m.def.Tasks[n].Dynamic {
		if workflow.PerTaskAttr(x.Attr) != perTask {
			continue
		}
		v, err := m.eval.Evaluate(x.Expr, scope)
		if err != nil {
			return nil, err
		}
		if err := p.Set(x.Attr, v); err != nil {
			return nil, fmt.Errorf("%s: %w", place(x.Expr.Range), err)
		}
	}
	return &p, nil
}
