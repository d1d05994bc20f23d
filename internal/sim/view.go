// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// numberAt is the instance that stands at a position of a task: the position, until it is expanded anew.
func numberAt(s *engine.State, n, position int) int {
	if x := s.Expansions[n]; x != nil && x.Numbers != nil {
		return x.Numbers[position]
	}
	return position
}

// positionOf is where an instance stands; -1 when it is no part of its task any more.
func positionOf(s *engine.State, n, i int) int {
	if x := s.Expansions[n]; x != nil && x.Numbers != nil {
		return slices.Index(x.Numbers, i)
	}
	if i < s.Tasks[n].Size {
		return i
	}
	return -1
}

// recorded reports whether an instance has a status of its own.
func recorded(s *engine.State, n, i int) bool {
	return i < len(s.Instances[n]) && s.Instances[n][i].Status != workflow.Pending
}

// instanceStatus is the status of instance i, recorded or shared by those that never began.
func instanceStatus(s *engine.State, p, i int) workflow.Status {
	if recorded(s, p, i) {
		return s.Instances[p][i].Status
	}
	if r := s.Tasks[p].Rest; r != "" {
		return r
	}
	if st := s.Tasks[p].Status; st.Terminal() {
		return st
	}
	return workflow.Pending
}

// life are the attempts of an instance since its task was last reset.
func life(s *engine.State, n int, in *engine.Instance) []engine.Attempt {
	from := 0
	for from < len(in.Past) && in.Past[from].Generation < s.Tasks[n].Generation {
		from++
	}
	return in.Past[from:]
}

// given is what was decided about an instance without an attempt, once it acts.
func given(s *engine.State, n, i int) *engine.Given {
	if recorded(s, n, i) {
		if g := s.Instances[n][i].Given; g != nil && !g.Next {
			return g
		}
		return nil
	}
	return s.Tasks[n].Given
}

// written are the outputs of an instance that succeeded, as they were given or written.
func written(s *engine.State, n, i int) map[string]workflow.Value {
	byTask := s.Tasks[n].Given
	if !recorded(s, n, i) {
		if byTask != nil {
			return byTask.Outputs
		}
		return nil
	}
	in := s.Instances[n][i]
	switch {
	case in.Given != nil && in.Given.Outputs == nil && byTask != nil:
		return byTask.Outputs
	case in.Given != nil:
		return in.Given.Outputs
	case len(in.Past) > 0:
		return in.Past[len(in.Past)-1].Outputs
	}
	return nil
}
