// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// Machine is the state machine of one definition. It is immutable and may be shared by runs and goroutines; a State has one
// owner.
type Machine struct {
	def   *workflow.Definition
	graph *workflow.Graph
	eval  Evaluator
}

// New returns the machine of a definition. It fails when the definition's graph does not hold together, which a checked
// definition's always does.
func New(def *workflow.Definition, eval Evaluator) (*Machine, error) {
	g, err := workflow.NewGraph(def)
	if err != nil {
		return nil, err
	}
	return &Machine{def: def, graph: g, eval: eval}, nil
}

// Definition returns the definition the machine runs.
func (m *Machine) Definition() *workflow.Definition { return m.def }

// NewState returns the state of a run that has not begun: everything pending, nothing saved yet.
func (m *Machine) NewState(in Input) *State { panic("unfinished") }

// Step folds e into s and returns the commands that became due. e.At is the only clock. The same (s, e) gives the same
// result on every machine. Events that do not fit, stale and doubled ones are dropped.
func (m *Machine) Step(s *State, e Event) []Command { panic("unfinished") }

// Outstanding lists every command that s still waits for, in a fixed order: a new leader needs nothing else.
func (m *Machine) Outstanding(s *State) []Command { panic("unfinished") }

// Record is one durable piece of a run's state. Keys are made of [a-z0-9/].
type Record struct {
	Key   string
	Value []byte
}

// EncodeDirty returns the records that changed since the last call (all of them, for a new state) and takes them for saved:
// a caller whose save fails throws s away and loads it again.
func (m *Machine) EncodeDirty(s *State) ([]Record, error) { panic("unfinished") }

// Load rebuilds a state from its records, in any order. Records it does not know are errors.
func (m *Machine) Load(records []Record) (*State, error) { panic("unfinished") }
