// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"errors"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Misfit: a verb does not fit the state that something is in. Its text says which state that is and what would fit.
type Misfit struct{ Text string }

func (e *Misfit) Error() string { return e.Text }

// Selection is what a rerun runs again.
type Selection struct {
	From []string // these tasks and everything downstream of them
	Only []string // these tasks alone
}

// Planned is a task that a retry would run, and how many instances of it; Instances is 0 when that is not known yet.
type Planned struct {
	Task      string
	Instances int
}

// Fits reports whether a verb would change anything; false means that what it asks for is done already. It returns a
// *Misfit for a verb that does not fit.
func (m *Machine) Fits(s *State, e Event) (due bool, err error) {
	return false, errors.New("not built")
}

// RetryPlan lists what a Retry or RetryTask would run, in declaration order. It returns a *Misfit like Fits.
func (m *Machine) RetryPlan(s *State, e Event) ([]Planned, error) {
	return nil, errors.New("not built")
}

// Rerun returns the state of a new run of the same definition that has not begun: tasks outside of the selection appear as
// they ended in source, which is terminal. An empty selection runs everything. It returns a *Misfit when something selected
// needs what source does not have.
func (m *Machine) Rerun(in Input, source *State, what Selection) (*State, error) {
	return nil, errors.New("not built")
}

// ChildOf is the child run of the attempt in flight of an instance, or of its newest one; empty when it has none.
func (m *Machine) ChildOf(s *State, n, i int) workflow.RunID { return "" }
