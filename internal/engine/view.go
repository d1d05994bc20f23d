// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"strconv"

	"github.com/cairnflow/cairn/internal/workflow"
)

// An instance has a number and a position. The number is its record's and part of its attempts' IDs, and is for ever. The
// position is where it stands in its task: its each.index. They differ only in a fan-out that was expanded anew.

// position is where instance i of task n stands; seen is false for one that left the view when the task was expanded anew.
func (s *State) position(n, i int) (position int, seen bool) {
	if x := s.Expansions[n]; x != nil && x.Numbers != nil {
		if i < len(x.positions) && x.positions[i] >= 0 {
			return x.positions[i], true
		}
		return -1, false
	}
	return i, i < s.Tasks[n].Size
}

// numbers is how many instance numbers task n has given, from 0 on.
func (s *State) numbers(n int) int {
	if x := s.Expansions[n]; x != nil && x.Numbers != nil {
		return max(len(x.positions), s.Tasks[n].Begun)
	}
	return max(s.Tasks[n].Size, s.Tasks[n].Begun)
}

// unbegun is how many instances in the view have no record.
func (s *State) unbegun(n int) int { return s.numbers(n) - s.Tasks[n].Begun }

// place finds the position of every number.
func (x *Expansion) place() {
	x.positions = nil
	for position, i := range x.Numbers {
		for len(x.positions) <= i {
			x.positions = append(x.positions, -1)
		}
		x.positions[i] = position
	}
}

// Position is where an instance stands in its task, by its number: its each.index. It is false for one that is no part of
// the task any more.
func (m *Machine) Position(s *State, n, i int) (position int, seen bool) { return s.position(n, i) }

// NumberAt is the instance number at a position of an expanded task.
func (m *Machine) NumberAt(s *State, n, position int) int {
	if x := s.Expansions[n]; x != nil && x.Numbers != nil {
		return x.Numbers[position]
	}
	return position
}

// InstanceStatus is the status of an instance, begun or not.
func (m *Machine) InstanceStatus(s *State, n, i int) workflow.Status {
	if i < len(s.Instances[n]) && s.Instances[n][i].Status != workflow.Pending {
		return s.Instances[n][i].Status
	}
	ts := s.Tasks[n]
	switch {
	case ts.Rest != "":
		return ts.Rest
	case ts.Status.Terminal():
		return ts.Status
	}
	return workflow.Pending
}

// Counts counts the instances of an expanded task by status.
func (m *Machine) Counts(s *State, n int) map[workflow.Status]int {
	out := map[workflow.Status]int{}
	for position := range s.Tasks[n].Size {
		out[m.InstanceStatus(s, n, m.NumberAt(s, n, position))]++
	}
	return out
}

// Written are the outputs that an instance which succeeded has of its own: what its attempt wrote, or what was given by hand
// or copied. Outputs that are not in it read as their default, or null.
func (m *Machine) Written(s *State, n, i int) map[string]workflow.Value {
	ts := s.Tasks[n]
	if i < len(s.Instances[n]) {
		in := s.Instances[n][i]
		if in.Status == workflow.Succeeded && in.Given == nil {
			if len(in.Past) == 0 {
				return nil // a join
			}
			return in.Past[len(in.Past)-1].Outputs
		}
		if in.Status == workflow.Succeeded && in.Given.Outputs != nil {
			return in.Given.Outputs
		}
	}
	if ts.Given != nil && m.InstanceStatus(s, n, i) == workflow.Succeeded {
		return ts.Given.Outputs
	}
	return nil
}

// Key is the key of an instance: of for_each, the index of count as text, empty for a plain task and for an instance that
// left the view.
func (m *Machine) Key(s *State, n, i int) string {
	if x := s.Expansions[n]; x != nil {
		if position, seen := s.position(n, i); seen && position < len(x.Keys) {
			return x.Keys[position]
		}
		return ""
	}
	if m.def.Tasks[n].Count != nil {
		return strconv.Itoa(i)
	}
	return ""
}

// each is `each.*` of an instance; nil for a plain task.
func (m *Machine) each(s *State, n, i int) *workflow.Each {
	position, _ := s.position(n, i)
	switch {
	case s.Expansions[n] != nil:
		return &workflow.Each{Key: s.Expansions[n].Keys[position], Value: s.Expansions[n].Values[position], Index: position}
	case m.def.Tasks[n].Count != nil:
		key := strconv.Itoa(i)
		return &workflow.Each{Key: key, Value: workflow.Value{JSON: []byte(key)}, Index: i}
	}
	return nil
}

// ChildOf is the child run of the attempt in flight of an instance, or of its newest one; empty when it has none.
func (m *Machine) ChildOf(s *State, n, i int) workflow.RunID {
	if n < 0 || n >= len(s.Instances) || i < 0 || i >= len(s.Instances[n]) {
		return ""
	}
	in := s.Instances[n][i]
	if in.Current != nil {
		return in.Current.Place.Child
	}
	if len(in.Past) > 0 {
		return in.Past[len(in.Past)-1].Place.Child
	}
	return ""
}
