// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
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
		for position := range out.Instances {
			out.Instances[position] = m.instanceValues(s, n, m.NumberAt(s, n, position), true)
		}
	}
	return out
}

func (m *Machine) instanceValues(s *State, n, i int, seen bool) workflow.InstanceValues {
	task := &m.def.Tasks[n]
	out := workflow.InstanceValues{
		Key: m.Key(s, n, i), Status: workflow.Pending, Outputs: make(map[string]workflow.Value, len(task.Outputs)),
	}
	var written map[string]workflow.Value
	if seen {
		if out.Status = m.InstanceStatus(s, n, i); task.Shape() == workflow.ShapePlain {
			out.Status = s.Tasks[n].Status
		}
		written = m.Written(s, n, i)
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
