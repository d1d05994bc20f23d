// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"strconv"

	"github.com/cairnflow/cairn/internal/workflow"
)

// shared returns what all instances of task n see, from its view. It is kept until the task ends, so that an evaluator
// meets the same pointer again.
func (m *Machine) shared(s *State, n int) *workflow.Shared {
	d := &s.tasks[n]
	if d.shared == nil {
		task := &m.def.Tasks[n]
		d.shared = m.sharedOf(s, task.Refs, s.Tasks[n].Unseen, task.Kind == workflow.KindFinally)
	}
	return d.shared
}

func (m *Machine) sharedOf(s *State, refs []string, unseen []int, final bool) *workflow.Shared {
	out := &workflow.Shared{
		Run: workflow.RunValues{
			ID:          string(s.Input.Run),
			Workflow:    s.Input.Workflow,
			Version:     s.Input.Definition,
			Namespace:   s.Input.Namespace,
			Trigger:     s.Input.Trigger,
			ScheduledAt: s.Input.ScheduledAt,
			StartedAt:   s.Head.StartedAt,
		},
		Params: s.Input.Params,
		Tasks:  make(map[string]*workflow.TaskValues, len(refs)),
	}
	if final {
		out.Run.Status = s.Head.Verdict
		out.Run.FailedTasks = m.failedBefore(s)
	}
	for _, name := range refs {
		n, ok := m.graph.Number(name)
		if !ok {
			continue
		}
		seen := true
		for _, u := range unseen {
			seen = seen && u != n
		}
		out.Tasks[name] = m.taskValues(s, n, seen)
	}
	return out
}

// taskValues is what others read of task n.
func (m *Machine) taskValues(s *State, n int, seen bool) *workflow.TaskValues {
	task, ts := &m.def.Tasks[n], s.Tasks[n]
	out := &workflow.TaskValues{Shape: task.Shape(), Status: ts.Status}
	if !seen {
		out.Status = workflow.Pending
	}
	if out.Shape == workflow.ShapePlain {
		out.Instances = []workflow.InstanceValues{m.instanceValues(s, n, 0, seen)}
		return out
	}
	if seen {
		out.Instances = make([]workflow.InstanceValues, ts.Size)
		for i := range out.Instances {
			out.Instances[i] = m.instanceValues(s, n, i, true)
		}
	}
	return out
}

func (m *Machine) instanceValues(s *State, n, i int, seen bool) workflow.InstanceValues {
	task, ts := &m.def.Tasks[n], s.Tasks[n]
	out := workflow.InstanceValues{Key: m.Key(s, n, i), Status: ts.Status, Outputs: make(map[string]workflow.Value, len(task.Outputs))}
	var written map[string]workflow.Value
	switch {
	case !seen:
		out.Status = workflow.Pending
	case i < len(s.Instances[n]):
		in := s.Instances[n][i]
		out.Status = in.Status
		if in.Status == workflow.Succeeded && len(in.Past) > 0 {
			written = in.Past[len(in.Past)-1].Outputs
		}
	case ts.Rest != "":
		out.Status = ts.Rest
	}
	for _, o := range task.Outputs {
		v, ok := written[o.Name]
		if !ok && o.Default != nil {
			v = *o.Default
		}
		v.Sensitive = v.Sensitive || o.Sensitive
		out.Outputs[o.Name] = v
	}
	return out
}

// Key is the key of an instance: of for_each, the index of count as text, empty for a plain task.
func (m *Machine) Key(s *State, n, i int) string {
	if x := s.Expansions[n]; x != nil {
		if i < len(x.Keys) {
			return x.Keys[i]
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
	switch {
	case s.Expansions[n] != nil:
		return &workflow.Each{Key: s.Expansions[n].Keys[i], Value: s.Expansions[n].Values[i], Index: i}
	case m.def.Tasks[n].Count != nil:
		key := strconv.Itoa(i)
		return &workflow.Each{Key: key, Value: workflow.Value{JSON: []byte(key)}, Index: i}
	}
	return nil
}
