// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// maxRendered bounds how many instances of one task are rendered for reading.
const maxRendered = 100

// Rendered is the Nomad job of one instance, as its first attempt would be registered, before what identifies the attempt is
// added.
type Rendered struct {
	Key   string // of the instance; empty for a plain task
	Index int
	Job   json.RawMessage // canonical JSON
	// Assumed says that the job holds stand-ins for what only a run knows: outputs read <task.x.output.y>, or are zero or
	// empty where text does not fit.
	Assumed bool
}

// Render renders the body of a task without a run: the params are real, outputs of other tasks are stood in for. A task
// without a body has no jobs. Of a fan-out at most 100 instances are rendered.
func (e *Evaluator) Render(task string, params map[string]workflow.Value, run workflow.RunValues) ([]Rendered, error) {
	o, err := e.open()
	if err != nil {
		return nil, err
	}
	def := e.task(task)
	if def == nil {
		names := make([]string, len(e.def.Tasks))
		for i := range e.def.Tasks {
			names[i] = e.def.Tasks[i].Name
		}
		return nil, fmt.Errorf("workflow %s has no task %s.%s", e.def.Name, task, didYouMean(task, names))
	}
	if def.Body == nil {
		return nil, nil
	}
	run.Status = workflow.RunSucceeded
	shared := &workflow.Shared{Run: run, Params: params, Tasks: map[string]*workflow.TaskValues{}}
	for _, name := range def.Refs {
		shared.Tasks[name] = e.standInTask(o, name, shared)
	}
	instances, err := e.standInInstances(o, def, shared)
	if err != nil {
		return nil, err
	}
	out := make([]Rendered, 0, len(instances))
	for _, each := range instances {
		v, err := e.Evaluate(*def.Body, workflow.Scope{Shared: shared, Each: each, Attempt: &workflow.AttemptValues{Number: 1}})
		if err != nil {
			return nil, err
		}
		r := Rendered{Job: v.JSON, Assumed: len(def.Refs) > 0}
		if each != nil {
			r.Key, r.Index = each.Key, each.Index
		}
		out = append(out, r)
	}
	return out, nil
}

// standInInstances are the instances of a task as far as params decide them.
func (e *Evaluator) standInInstances(o *opened, def *workflow.Task, shared *workflow.Shared) ([]*workflow.Each, error) {
	scope := workflow.Scope{Shared: shared}
	switch {
	case def.Count != nil:
		v, err := e.Evaluate(*def.Count, scope)
		if err != nil {
			return nil, err
		}
		var n int
		if err := json.Unmarshal(v.JSON, &n); err != nil {
			return nil, fmt.Errorf("%scount: %w", place(def.Count.Range), err)
		}
		var out []*workflow.Each
		for i := range min(n, maxRendered) {
			key := fmt.Sprint(i)
			out = append(out, &workflow.Each{Key: key, Value: workflow.Value{JSON: json.RawMessage(key)}, Index: i})
		}
		return out, nil
	case def.ForEach == nil:
		return []*workflow.Each{nil}, nil
	}
	v, err := e.Evaluate(*def.ForEach, scope)
	if err != nil {
		return nil, err
	}
	coll, err := toCty(v.JSON, cty.DynamicPseudoType)
	if err != nil {
		return nil, fmt.Errorf("%sfor_each: %w", place(def.ForEach.Range), err)
	}
	var out []*workflow.Each
	for it := coll.ElementIterator(); it.Next() && len(out) < maxRendered; {
		k, element := it.Element()
		value, err := fromCty(element)
		if err != nil {
			return nil, fmt.Errorf("%sfor_each %w", place(def.ForEach.Range), err)
		}
		each := &workflow.Each{Value: value, Index: len(out)}
		switch {
		case def.Key != nil:
			key, err := e.Evaluate(*def.Key, workflow.Scope{Shared: shared, Each: each})
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(key.JSON, &each.Key); err != nil {
				return nil, fmt.Errorf("%skey: %w", place(def.Key.Range), err)
			}
		case k.Type() == cty.String:
			each.Key = k.AsString()
		default:
			each.Key = element.AsString() // a set of strings
		}
		out = append(out, each)
	}
	return out, nil
}

// standInTask is a task that succeeded with outputs that say where they come from. Its instances are the real ones where
// params decide them, else a single one.
func (e *Evaluator) standInTask(o *opened, name string, about *workflow.Shared) *workflow.TaskValues {
	t := o.flow.taskByName[name]
	out := &workflow.TaskValues{Shape: t.shape(), Status: workflow.Succeeded}
	keys := []string{"key"}
	if def := e.task(name); t.fanned() {
		if all, err := e.standInInstances(o, def, &workflow.Shared{Run: about.Run, Params: about.Params}); err == nil && len(all) > 0 {
			keys = keys[:0]
			for _, each := range all {
				keys = append(keys, each.Key)
			}
		}
	}
	for _, key := range keys {
		in := workflow.InstanceValues{Key: key, Status: workflow.Succeeded, Outputs: map[string]workflow.Value{}}
		path := "task." + name
		if t.fanned() {
			path = fmt.Sprintf("task.%s[%s]", name, key)
		}
		for _, output := range t.outputs {
			if v, err := fromCty(standIn(safeType(output.ty), fmt.Sprintf("<%s.output.%s>", path, output.name))); err == nil {
				v.Sensitive = output.sensitive
				in.Outputs[output.name] = v
			}
		}
		out.Instances = append(out.Instances, in)
	}
	return out
}

// task returns a task of the definition, or nil.
func (e *Evaluator) task(name string) *workflow.Task {
	for i := range e.def.Tasks {
		if e.def.Tasks[i].Name == name {
			return &e.def.Tasks[i]
		}
	}
	return nil
}

// standIn is a value of a type: text where it can be, else zero or empty.
func standIn(ty cty.Type, text string) cty.Value {
	switch {
	case ty == cty.String || ty == cty.DynamicPseudoType:
		return cty.StringVal(text)
	case ty == cty.Number:
		return cty.Zero
	case ty == cty.Bool:
		return cty.False
	case ty.IsListType():
		return cty.ListValEmpty(ty.ElementType())
	case ty.IsSetType():
		return cty.SetValEmpty(ty.ElementType())
	case ty.IsMapType():
		return cty.MapValEmpty(ty.ElementType())
	case ty.IsObjectType():
		attrs := map[string]cty.Value{}
		for name, attr := range ty.AttributeTypes() {
			attrs[name] = standIn(attr, text)
		}
		return cty.ObjectVal(attrs)
	case ty.IsTupleType():
		elems := make([]cty.Value, 0, ty.Length())
		for _, e := range ty.TupleElementTypes() {
			elems = append(elems, standIn(e, text))
		}
		return cty.TupleVal(elems)
	}
	return cty.NullVal(ty)
}
