// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"github.com/cairnflow/cairn/internal/workflow"
)

// expand decides the instances of a task that begins. An expansion of an earlier generation is kept, unless something that
// it reads was reset.
func (t *turn) expand(n int) error {
	m, s := t.m, t.s
	ts, task := s.Tasks[n], &m.def.Tasks[n]
	if ts.Expanded && !ts.Stale {
		return nil
	}
	size := 1
	switch {
	case task.Count != nil:
		v, err := m.eval.Evaluate(*task.Count, workflow.Scope{Shared: m.shared(s, n)})
		if err != nil {
			return err
		}
		var count float64
		if v.Null() || json.Unmarshal(v.JSON, &count) != nil || count < 0 || count != math.Trunc(count) {
			return fmt.Errorf("%s: `count` must be a whole number, 0 or more", place(task.Count.Range))
		}
		if count > workflow.MaxInstances {
			return fmt.Errorf("%s: `count` is %.0f, at most %d instances", place(task.Count.Range), count, workflow.MaxInstances)
		}
		size = int(count)
	case task.ForEach != nil:
		x, err := m.expansion(s, n)
		if err != nil {
			return err
		}
		if ts.Begun > 0 || len(ts.Ahead) > 0 {
			if err := m.renumber(s, n, x); err != nil {
				return err
			}
		}
		s.Expansions[n] = x
		s.dirty.expansion(n)
		size = len(x.Keys)
	}
	s.outputBytes -= s.outputsOf(n)
	ts.Expanded, ts.Stale, ts.Size = true, false, size
	s.placeNumbers(n)
	s.outputBytes += s.outputsOf(n)
	if ts.Begun > 0 {
		m.recount(s, n)
	} else {
		s.Instances[n] = make([]*Instance, 0, min(size, window))
	}
	return nil
}

// outputsOf is the size of the outputs of the instances in the view of task n.
func (s *State) outputsOf(n int) (total int) {
	for i, in := range s.Instances[n] {
		if _, seen := s.position(n, i); seen {
			total += in.outputSize()
		}
	}
	return total
}

// outputSize is the size of what an instance has written, or was given.
func (in *Instance) outputSize() int {
	switch {
	case in.Status != workflow.Succeeded:
		return 0
	case in.Given != nil:
		return outputSize(in.Given.Outputs)
	case len(in.Past) > 0:
		return outputSize(in.Past[len(in.Past)-1].Outputs)
	}
	return 0
}

// renumber gives the elements of an expansion that replaces another their instance numbers: a key with an equal value keeps
// the one it has, with its result; every other gets a new one. A number that no instance has begun with is free.
func (m *Machine) renumber(s *State, n int, x *Expansion) error {
	old := s.Expansions[n]
	known := make(map[string]int, len(old.Keys)) // position
	for position, k := range old.Keys {
		known[k] = position
	}
	ts := s.Tasks[n]
	next, ahead := ts.Begun, map[int]*Given{}
	x.Numbers = make([]int, len(x.Keys))
	for position, k := range x.Keys {
		x.Numbers[position] = next
		if was, ok := known[k]; ok && bytes.Equal(old.Values[was].JSON, x.Values[position].JSON) {
			i := m.NumberAt(s, n, was)
			if i < ts.Begun {
				x.Numbers[position] = i
			}
			if g := ts.Ahead[i]; g != nil {
				ahead[x.Numbers[position]] = g
			}
			if i < ts.Begun {
				continue
			}
		}
		next++
	}
	ts.Ahead = ahead
	if next > workflow.MaxInstances {
		return fmt.Errorf("%s: %d instances over all retries, at most %d", place(m.def.Tasks[n].ForEach.Range), next, workflow.MaxInstances)
	}
	return nil
}

// recount derives anew what is kept of the instances of a task, after its view of them changed.
func (m *Machine) recount(s *State, n int) {
	d := &s.tasks[n]
	d.tally, d.again, d.attempted = tally{}, ordered{}, 0
	for i, in := range s.Instances[n] {
		position, seen := s.position(n, i)
		if !seen {
			continue
		}
		d.tally.add(in.Status, 1)
		if in.Status == workflow.Pending {
			d.again.add(position, i)
		}
		if m.attempted(s, n, i) {
			d.attempted++
		}
	}
}

// minSuccess is the number of instances that must succeed: percentages round up, more than there are means all.
func minSuccess(p workflow.MinSuccess, size int) int {
	switch {
	case p.Number > 0:
		return min(p.Number, size)
	case p.Percent > 0:
		return min(int(math.Ceil(p.Percent*float64(size)/100-1e-9)), size)
	}
	return size
}

// expansion evaluates for_each: a map by key, a set of strings by element, a list by its key expression.
func (m *Machine) expansion(s *State, n int) (*Expansion, error) {
	task := &m.def.Tasks[n]
	where := place(task.ForEach.Range)
	shared := m.shared(s, n)
	v, err := m.eval.Evaluate(*task.ForEach, workflow.Scope{Shared: shared})
	if err != nil {
		return nil, err
	}
	x := &Expansion{}
	add := func(key string, raw json.RawMessage) {
		x.Keys = append(x.Keys, key)
		x.Values = append(x.Values, workflow.Value{JSON: raw, Sensitive: v.Sensitive})
	}
	var asMap map[string]json.RawMessage
	var asList []json.RawMessage
	switch {
	case v.Null():
		return nil, fmt.Errorf("%s: `for_each` is null", where)
	case json.Unmarshal(v.JSON, &asMap) == nil:
		keys := make([]string, 0, len(asMap))
		for k := range asMap {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			add(k, asMap[k])
		}
	case json.Unmarshal(v.JSON, &asList) != nil:
		return nil, fmt.Errorf("%s: `for_each` must be a map, a set of strings, or a list with `key`", where)
	case task.Key == nil:
		keys := make([]string, len(asList))
		for i, raw := range asList {
			if json.Unmarshal(raw, &keys[i]) != nil || string(raw) == "null" {
				return nil, fmt.Errorf("%s: `for_each` over a set takes strings; for a list write `key`", where)
			}
		}
		sort.Strings(keys)
		for _, k := range keys {
			raw, err := json.Marshal(k)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			add(k, raw)
		}
	default:
		for i, raw := range asList {
			each := &workflow.Each{Value: workflow.Value{JSON: raw, Sensitive: v.Sensitive}, Index: i}
			k, err := m.eval.Evaluate(*task.Key, workflow.Scope{Shared: shared, Each: each})
			if err != nil {
				return nil, err
			}
			key, err := keyText(k)
			if err != nil {
				return nil, fmt.Errorf("%s: key of element %d: %w", place(task.Key.Range), i, err)
			}
			add(key, raw)
		}
	}
	return x, checkKeys(x.Keys, where)
}

func keyText(v workflow.Value) (string, error) {
	var s string
	if json.Unmarshal(v.JSON, &s) == nil && !v.Null() {
		return s, nil
	}
	var num json.Number
	if json.Unmarshal(v.JSON, &num) == nil && !v.Null() {
		return num.String(), nil
	}
	return "", fmt.Errorf("must be a string or a number")
}

func checkKeys(keys []string, where string) error {
	seen, total := make(map[string]bool, len(keys)), 0
	for _, k := range keys {
		switch {
		case k == "":
			return fmt.Errorf("%s: an instance key is empty", where)
		case len(k) > workflow.MaxKeyBytes:
			return fmt.Errorf("%s: the key %.20q… has %d bytes, at most %d", where, k, len(k), workflow.MaxKeyBytes)
		case seen[k]:
			return fmt.Errorf("%s: the key %q occurs twice", where, k)
		}
		seen[k] = true
		total += len(k)
	}
	if total > workflow.MaxExpansionBytes {
		return fmt.Errorf("%s: the keys have %d bytes together, at most %d", where, total, workflow.MaxExpansionBytes)
	}
	if len(keys) > workflow.MaxInstances {
		return fmt.Errorf("%s: %d instances, at most %d", where, len(keys), workflow.MaxInstances)
	}
	return nil
}
