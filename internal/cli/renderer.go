// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workflow"
)

// renderer evaluates bodies without a run: every task has succeeded, with placeholders for outputs.
type renderer struct {
	def    *workflow.Definition
	eval   *hcl.Evaluator
	run    workflow.RunValues
	params map[string]workflow.Value
	give   func(*workflow.Task, *workflow.Output) workflow.Value // the placeholder of an output
	tasks  map[string]*workflow.TaskValues
	eachOf map[string][]*workflow.Each // nil elements: plain tasks
	failed map[string]error            // expansions that need what only a run knows
	shared map[int]*workflow.Shared    // by task: one for all its instances
}

func newRenderer(def *workflow.Definition, eval *hcl.Evaluator, run workflow.RunValues, values map[string]workflow.Value) (*renderer, error) {
	return newRendererWith(def, eval, run, values, placeholder)
}

func newRendererWith(
	def *workflow.Definition, eval *hcl.Evaluator, run workflow.RunValues, values map[string]workflow.Value,
	give func(*workflow.Task, *workflow.Output) workflow.Value,
) (*renderer, error) {
	g, err := workflow.NewGraph(def)
	if err != nil {
		return nil, err
	}
	r := &renderer{
		def: def, eval: eval, run: run, params: values, give: give,
		tasks: map[string]*workflow.TaskValues{}, eachOf: map[string][]*workflow.Each{}, failed: map[string]error{},
		shared: map[int]*workflow.Shared{},
	}
	done := make([]bool, len(def.Tasks))
	var visit func(n int)
	visit = func(n int) {
		if done[n] {
			return
		}
		done[n] = true
		for _, p := range g.Predecessors(n) {
			visit(p)
		}
		r.settle(n)
	}
	for n := range def.Tasks {
		visit(n)
	}
	return r, nil
}

// scope is what task n sees; its predecessors are settled.
func (r *renderer) scope(n int) workflow.Scope {
	if r.shared[n] == nil {
		run := r.run
		if r.def.Tasks[n].Kind == workflow.KindFinally {
			run.Status, run.FailedTasks = workflow.RunSucceeded, []string{}
		}
		r.shared[n] = &workflow.Shared{Run: run, Params: r.params, Tasks: r.tasks}
	}
	return workflow.Scope{Shared: r.shared[n]}
}

// settle expands task n and makes its placeholders.
func (r *renderer) settle(n int) {
	t := &r.def.Tasks[n]
	all, err := r.expand(n)
	if err != nil {
		r.failed[t.Name] = err
	}
	r.eachOf[t.Name] = all
	values := &workflow.TaskValues{Shape: t.Shape(), Status: workflow.Succeeded}
	for _, each := range all {
		in := workflow.InstanceValues{Status: workflow.Succeeded, Outputs: map[string]workflow.Value{}}
		if each != nil {
			in.Key = each.Key
		}
		for i := range t.Outputs {
			in.Outputs[t.Outputs[i].Name] = r.give(t, &t.Outputs[i])
		}
		values.Instances = append(values.Instances, in)
	}
	r.tasks[t.Name] = values
}

// placeholder stands for an output that only a run knows.
func placeholder(t *workflow.Task, o *workflow.Output) workflow.Value {
	if o.Default != nil {
		v := *o.Default
		if o.Sensitive || v.Sensitive {
			v = hidden(v, o.Type.Text)
		}
		return v
	}
	return standIn(o, fmt.Sprintf("output %s of task %s", o.Name, t.Name), "0", "false", "[]", "{}")
}

// otherPlaceholder stands for the same and differs from it: what comes out alike with both does not depend on outputs.
func otherPlaceholder(t *workflow.Task, o *workflow.Output) workflow.Value {
	return standIn(o, fmt.Sprintf("another output %s of task %s", o.Name, t.Name), "1", "true", "[null]", `{"another":null}`)
}

// standIn makes a value of the type that an output is declared with.
func standIn(o *workflow.Output, text, number, truth, list, object string) workflow.Value {
	kind, _, _ := strings.Cut(strings.TrimSpace(o.Type.Text), "(")
	out := workflow.Value{JSON: json.RawMessage("null"), Sensitive: o.Sensitive}
	switch strings.TrimSpace(kind) {
	case "", "string":
		out.JSON = json.RawMessage(strconv.Quote(text))
	case "number":
		out.JSON = json.RawMessage(number)
	case "bool":
		out.JSON = json.RawMessage(truth)
	case "list", "set", "tuple":
		out.JSON = json.RawMessage(list)
	case "map", "object":
		out.JSON = json.RawMessage(object)
	}
	return out
}

// expand returns the instances of task n: one nil for a plain task.
func (r *renderer) expand(n int) ([]*workflow.Each, error) {
	t := &r.def.Tasks[n]
	switch t.Shape() {
	case workflow.ShapeList:
		v, err := r.eval.Evaluate(*t.Count, r.scope(n))
		if err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(string(v.JSON))
		if err != nil || size < 0 || size > workflow.MaxInstances {
			return nil, fmt.Errorf("count is %s", v.JSON)
		}
		out := make([]*workflow.Each, size)
		for i := range out {
			key := strconv.Itoa(i)
			out[i] = &workflow.Each{Key: key, Index: i, Value: workflow.Value{JSON: json.RawMessage(key)}}
		}
		return out, nil
	case workflow.ShapeMap:
		v, err := r.eval.Evaluate(*t.ForEach, r.scope(n))
		if err != nil {
			return nil, err
		}
		return r.elements(n, v)
	}
	return []*workflow.Each{nil}, nil
}

// elements are the instances that the value of a for_each makes: a map's by key, a set's by element, a list's by position.
func (r *renderer) elements(n int, v workflow.Value) ([]*workflow.Each, error) {
	t := &r.def.Tasks[n]
	var out []*workflow.Each
	add := func(key string, value json.RawMessage) *workflow.Each {
		each := &workflow.Each{Key: key, Index: len(out), Value: workflow.Value{JSON: value, Sensitive: v.Sensitive}}
		out = append(out, each)
		return each
	}
	var byKey map[string]json.RawMessage
	if json.Unmarshal(v.JSON, &byKey) == nil && byKey != nil {
		for _, key := range sortedKeys(byKey) {
			add(key, byKey[key])
		}
		return out, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(v.JSON, &list); err != nil {
		return nil, fmt.Errorf("for_each is %s", cut(string(v.JSON), maxValue))
	}
	for _, element := range list {
		key := element
		if t.Key != nil {
			scope := r.scope(n)
			scope.Each = &workflow.Each{Index: len(out), Value: workflow.Value{JSON: element, Sensitive: v.Sensitive}}
			k, err := r.eval.Evaluate(*t.Key, scope)
			if err != nil {
				return nil, err
			}
			key = k.JSON
		}
		var text string
		if json.Unmarshal(key, &text) != nil {
			text = string(key)
		}
		add(text, element)
	}
	return out, nil
}

func sortedKeys(m map[string]json.RawMessage) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// body evaluates the body of one instance; it has no JSON for a join.
func (r *renderer) body(n int, each *workflow.Each) (workflow.Value, error) {
	t := &r.def.Tasks[n]
	if t.Body == nil {
		return workflow.Value{}, nil
	}
	scope := r.scope(n)
	scope.Each, scope.Attempt = each, &workflow.AttemptValues{Number: 1}
	return r.eval.Evaluate(*t.Body, scope)
}

// firstBody is the body of the first instance of task n, if there is one that can be evaluated.
func (r *renderer) firstBody(n int) ([]byte, bool) {
	t := &r.def.Tasks[n]
	if r.failed[t.Name] != nil || len(r.eachOf[t.Name]) == 0 {
		return nil, false
	}
	body, err := r.body(n, r.eachOf[t.Name][0])
	return body.JSON, err == nil && body.JSON != nil
}

// rendering is what package nomad needs of an instance of task n.
func (r *renderer) rendering(n, i int, body []byte) nomad.Rendering {
	out := nomad.Rendering{Definition: r.def, Run: renderedRun, Task: n, Instance: i, Body: body}
	if each := r.eachOf[r.def.Tasks[n].Name][i]; each != nil {
		out.Key = each.Key
	}
	return out
}

// job is what an instance becomes.
type job struct {
	text      []byte
	sensitive bool // it read sensitive values, which are hidden in it
}

// jobs are those of the wanted instances of task n, which is one for workers; seen counts the instances.
func (r *renderer) jobs(n int, wanted func(*workflow.Task, *workflow.Each) bool) (jobs []job, seen int, err error) {
	t := &r.def.Tasks[n]
	if err := r.failed[t.Name]; err != nil {
		if wanted(t, nil) {
			return nil, 1, err
		}
		return nil, 0, nil
	}
	for i, each := range r.eachOf[t.Name] {
		if !wanted(t, each) {
			continue
		}
		seen++
		body, err := r.body(n, each)
		if err != nil {
			return jobs, seen, err
		}
		text, err := r.request(n, i, body.JSON)
		if err != nil {
			return jobs, seen, err
		}
		jobs = append(jobs, job{text, body.Sensitive})
	}
	return jobs, seen, nil
}

// request is what Nomad is sent for an instance: a job, or the dispatch of one that exists.
func (r *renderer) request(n, i int, body []byte) ([]byte, error) {
	if r.def.Tasks[n].BodyKind != workflow.BodyDispatch {
		return nomad.Render(r.rendering(n, i, body))
	}
	var dispatch workflow.DispatchBody
	if err := json.Unmarshal(body, &dispatch); err != nil {
		return nil, fmt.Errorf("read the body of task %s: %w", r.def.Tasks[n].Name, err)
	}
	var b strings.Builder
	err := encodeJSON(&b, map[string]dispatchRequest{"Dispatch": {
		JobID: dispatch.Job, Namespace: dispatch.Namespace, Region: dispatch.Region, Priority: dispatch.Priority,
		Meta: dispatch.Meta, Payload: dispatch.Payload,
	}})
	return []byte(b.String()), err
}

// dispatchRequest has Nomad's names for what a dispatch is made of.
type dispatchRequest struct {
	JobID     string
	Namespace string            `json:",omitempty"`
	Region    string            `json:",omitempty"`
	Priority  int               `json:",omitempty"`
	Meta      map[string]string `json:",omitempty"`
	Payload   []byte            `json:",omitempty"`
}
