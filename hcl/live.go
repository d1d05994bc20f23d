// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// liveWorld has the values of a running workflow.
type liveWorld struct {
	flow   *flow
	shared *workflow.Shared
}

func (w *liveWorld) params() map[string]cty.Value {
	out := make(map[string]cty.Value, len(w.flow.params))
	for _, p := range w.flow.params {
		given := w.shared.Params[p.name]
		v := typedValue(given, p.ty)
		if p.sensitive || given.Sensitive {
			v = v.Mark(sensitive)
		}
		out[p.name] = v
	}
	return out
}

// typedValue reads a stored value. It was of its type when it was stored; should it not be any more, its own type holds.
func typedValue(v workflow.Value, ty cty.Type) cty.Value {
	out, err := toCty(v.JSON, safeType(ty))
	if err != nil {
		if out, err = toCty(v.JSON, cty.DynamicPseudoType); err != nil {
			return cty.NullVal(safeType(ty))
		}
	}
	return out
}

func (w *liveWorld) run() map[string]cty.Value { return runValues(w.shared.Run) }

// runValues is run.*: times in RFC 3339 with nanoseconds, in UTC; null when not reached.
func runValues(r workflow.RunValues) map[string]cty.Value {
	moment := func(t workflow.Time) cty.Value {
		if t == 0 {
			return cty.NullVal(cty.String)
		}
		return cty.StringVal(t.Time().Format(time.RFC3339Nano))
	}
	failed := cty.ListValEmpty(cty.String)
	if len(r.FailedTasks) > 0 {
		names := make([]cty.Value, len(r.FailedTasks))
		for i, n := range r.FailedTasks {
			names[i] = cty.StringVal(n)
		}
		failed = cty.ListVal(names)
	}
	return map[string]cty.Value{
		"id": cty.StringVal(r.ID), "workflow": cty.StringVal(r.Workflow), "version": cty.StringVal(r.Version), "namespace": cty.StringVal(r.Namespace),
		"trigger": cty.StringVal(r.Trigger), "url": cty.StringVal(r.URL), "scheduled_at": moment(r.ScheduledAt), "started_at": moment(r.StartedAt),
		"status": cty.StringVal(string(r.Status)), "failed_tasks": failed,
	}
}

// task is one task as the reader's view fixed it. One that is not in the view has not begun.
func (w *liveWorld) task(name string) (cty.Value, cty.Value) {
	t := w.flow.taskByName[name]
	if t == nil {
		return cty.DynamicVal, cty.StringVal(string(workflow.Pending))
	}
	seen := w.shared.Tasks[name]
	if seen == nil {
		seen = &workflow.TaskValues{Shape: t.shape(), Status: workflow.Pending}
	}
	status := cty.StringVal(string(seen.Status))
	switch t.shape() {
	case workflow.ShapePlain:
		var in workflow.InstanceValues
		if len(seen.Instances) > 0 {
			in = seen.Instances[0]
		}
		in.Status = seen.Status
		return t.instanceValue(in), status
	case workflow.ShapeMap:
		if len(seen.Instances) == 0 && t.uniform() {
			return cty.MapValEmpty(t.instanceType()), status
		}
		values := make(map[string]cty.Value, len(seen.Instances))
		for _, in := range seen.Instances {
			values[in.Key] = t.instanceValue(in)
		}
		if t.uniform() {
			return cty.MapVal(values), status
		}
		return cty.ObjectVal(values), status
	}
	if len(seen.Instances) == 0 && t.uniform() {
		return cty.ListValEmpty(t.instanceType()), status
	}
	values := make([]cty.Value, len(seen.Instances))
	for i, in := range seen.Instances {
		values[i] = t.instanceValue(in)
	}
	if t.uniform() {
		return cty.ListVal(values), status
	}
	return cty.TupleVal(values), status
}

// instanceValue is one instance: its status and every declared output, null where there is none.
func (t *task) instanceValue(in workflow.InstanceValues) cty.Value {
	outputs := make(map[string]cty.Value, len(t.outputs))
	for _, o := range t.outputs {
		given := in.Outputs[o.name]
		v := typedValue(given, o.ty)
		if o.sensitive || given.Sensitive {
			v = v.Mark(sensitive)
		}
		outputs[o.name] = v
	}
	status := in.Status
	if status == "" {
		status = workflow.Pending
	}
	return cty.ObjectVal(map[string]cty.Value{"status": cty.StringVal(string(status)), "output": cty.ObjectVal(outputs)})
}
