// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"slices"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Selection is what a rerun runs again.
type Selection struct {
	From []string // these tasks and everything downstream of them
	Only []string // these tasks alone
}

func (w Selection) empty() bool { return len(w.From)+len(w.Only) == 0 }

// notRerun is why a task that did not succeed does not run in a rerun either.
const notRerun = "not part of the rerun"

// Rerun returns the state of a new run of the same definition that has not begun: tasks outside of the selection appear as
// they ended in source, which is terminal. An empty selection runs everything, finally always runs. It returns a *Misfit
// when something selected needs what source does not have.
func (m *Machine) Rerun(in Input, source *State, what Selection) (*State, error) {
	if !source.Head.Status.Terminal() {
		return nil, misfit("run %s is %s; rerun is for runs that are over", source.Input.Run, source.Head.Status)
	}
	if what.empty() {
		return m.NewState(in), nil
	}
	selected, err := m.selected(what)
	if err != nil {
		return nil, err
	}
	for n := range m.def.Tasks {
		if !selected[n] {
			continue
		}
		for _, p := range m.graph.Predecessors(n) {
			if status := source.Tasks[p].Status; !selected[p] && !status.OK() {
				return nil, misfit("task %s needs task %s, which is %s in run %s and not part of the rerun; rerun from %s",
					m.def.Tasks[n].Name, m.def.Tasks[p].Name, status, source.Input.Run, m.def.Tasks[p].Name)
			}
		}
	}
	in.CopiedFrom = source.Input.Run
	s := m.NewState(in)
	for n := range s.Tasks {
		if !selected[n] {
			m.copyTask(s, source, n)
		}
	}
	m.rebuild(s)
	return s, nil
}

// selected marks the tasks that a rerun runs: finally always.
func (m *Machine) selected(what Selection) ([]bool, error) {
	out := make([]bool, len(m.def.Tasks))
	var order []int
	for _, name := range slices.Concat(what.From, what.Only) {
		n, ok := m.graph.Number(name)
		if !ok {
			return nil, misfit("the workflow has no task %s", name)
		}
		out[n] = true
		if slices.Contains(what.From, name) {
			order = append(order, n)
		}
	}
	reached := make([]bool, len(out))
	for k := 0; k < len(order); k++ {
		for _, e := range m.out[order[k]] {
			if !reached[e.to] {
				reached[e.to], out[e.to] = true, true
				order = append(order, e.to)
			}
		}
	}
	for n := range m.def.Tasks {
		out[n] = out[n] || m.def.Tasks[n].Kind == workflow.KindFinally
	}
	return out, nil
}

// copyTask makes a task of a rerun what it was in source. Instances are numbered anew, by position; their attempts stay where
// they were made.
func (m *Machine) copyTask(s, source *State, n int) {
	was, ts := source.Tasks[n], s.Tasks[n]
	ts.Outside = true
	if was.Status != workflow.Succeeded {
		ts.Status, ts.Reason = workflow.Skipped, notRerun
		if was.Status == workflow.Skipped {
			ts.Reason, ts.SkipBranch = was.Reason, was.SkipBranch
		}
		return
	}
	ts.Status, ts.Reason, ts.AllowFailure, ts.Exempt = was.Status, was.Reason, was.AllowFailure, was.Exempt
	ts.BeganAt, ts.EndedAt = was.BeganAt, was.EndedAt
	if ts.CopiedFrom = was.CopiedFrom; ts.CopiedFrom == "" {
		ts.CopiedFrom = source.Input.Run
	}
	if was.Given != nil {
		ts.Given = &Given{Status: was.Given.Status, Why: was.Given.Why, Outputs: was.Given.Outputs}
	}
	if !was.Expanded {
		return
	}
	ts.Expanded, ts.Size, ts.MinSuccess, ts.MaxParallel = true, was.Size, was.MinSuccess, was.MaxParallel
	ts.Begun = was.Size
	if x := source.Expansions[n]; x != nil {
		s.Expansions[n] = &Expansion{Keys: x.Keys, Values: x.Values}
		s.dirty.expansion(n)
	}
	for position := range was.Size {
		i := m.NumberAt(source, n, position)
		in := &Instance{Status: m.InstanceStatus(source, n, i)}
		if in.Status == workflow.Succeeded {
			in.Given = &Given{Status: in.Status, Outputs: m.Written(source, n, i)}
		}
		if i < len(source.Instances[n]) {
			in.Reason, in.EndedAt = source.Instances[n][i].Reason, source.Instances[n][i].EndedAt
		}
		s.Instances[n] = append(s.Instances[n], in)
		s.dirty.instance(n, position)
	}
}
