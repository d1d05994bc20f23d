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

// renderedRun stands for the ID of a run in rendered jobs.
const renderedRun = workflow.RunID("22222222222222222222")

func renderCommand(a *App) *command {
	var p params
	var name, task, key string
	keyed := false
	c := &command{
		synopsis:  "Print the Nomad jobs that tasks become",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Prints the Nomad job that each task of the workflow in FILE becomes, as JSON that "nomad job run -json"
accepts: one document for each instance, in the order of the tasks.

Outputs of other tasks are not known before a run. In their place stands the output's default, else 0,
false, an empty collection, or the text "output NAME of task TASK". The run's ID, the cluster and the
fence are placeholders too.`,
		examples: []string{
			"cairn render examples/etl",
			"cairn render -task extract -key eu examples/etl | nomad job validate -json -",
		},
		options: append(p.options(),
			textOption(&name, "workflow", "NAME", "The workflow to render, where FILE holds several."),
			textOption(&task, "task", "NAME", "Only this task."),
			funcOption("key", "KEY", "With -task: only this instance of a fan-out.", func(text string) error {
				key, keyed = text, true
				return nil
			}),
		),
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if keyed && task == "" {
			return c.usageError("-key is about the instances of a task: it needs -task")
		}
		return a.render(args[0], name, &p, func(t *workflow.Task, each *workflow.Each) bool {
			return (task == "" || t.Name == task) && (!keyed || each != nil && each.Key == key)
		})
	}
	return c
}

func (a *App) render(path, name string, p *params, wanted func(*workflow.Task, *workflow.Each) bool) int {
	s, def, eval, code := a.compile(path, name, false)
	if def == nil {
		return code
	}
	run := runValues(def, renderedRun, workflow.At(a.Now()))
	given, files, diags := p.given()
	s = s.over(files)
	var values map[string]workflow.Value
	if !diags.HasErrors() {
		var found hcl.Diagnostics
		values, found = hcl.Params(def, given, run)
		diags = append(diags, found...)
	}
	a.report(s, diags, false)
	if diags.HasErrors() {
		return exitUsage
	}
	r, err := newRenderer(def, eval, run, values)
	if err != nil {
		return a.broken(err)
	}
	found := 0
	for n := range def.Tasks {
		jobs, seen, err := r.jobs(n, wanted)
		found += seen
		if err != nil {
			a.errorf("Task %s cannot be rendered before a run: %s", def.Tasks[n].Name, err)
			code = exitFailed
		}
		for _, job := range jobs {
			a.print(string(job))
		}
	}
	if found == 0 && code == exitOK {
		a.errorf("There is no such task or instance in workflow %s.", def.Name)
		return exitUsage
	}
	return code
}

// renderer evaluates bodies without a run: every task has succeeded, with placeholders for outputs.
type renderer struct {
	def    *workflow.Definition
	eval   *hcl.Evaluator
	run    workflow.RunValues
	params map[string]workflow.Value
	tasks  map[string]*workflow.TaskValues
	eachOf map[string][]*workflow.Each // nil elements: plain tasks
	failed map[string]error            // expansions that need what only a run knows
	shared map[int]*workflow.Shared    // by task: one for all its instances
}

func newRenderer(def *workflow.Definition, eval *hcl.Evaluator, run workflow.RunValues, values map[string]workflow.Value) (*renderer, error) {
	g, err := workflow.NewGraph(def)
	if err != nil {
		return nil, err
	}
	r := &renderer{
		def: def, eval: eval, run: run, params: values,
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
			in.Outputs[t.Outputs[i].Name] = placeholder(t, &t.Outputs[i])
		}
		values.Instances = append(values.Instances, in)
	}
	r.tasks[t.Name] = values
}

// placeholder stands for an output that only a run knows.
func placeholder(t *workflow.Task, o *workflow.Output) workflow.Value {
	if o.Default != nil {
		return *o.Default
	}
	kind, _, _ := strings.Cut(strings.TrimSpace(o.Type.Text), "(")
	text := "null"
	switch strings.TrimSpace(kind) {
	case "", "string":
		text = strconv.Quote(fmt.Sprintf("output %s of task %s", o.Name, t.Name))
	case "number":
		text = "0"
	case "bool":
		text = "false"
	case "list", "set", "tuple":
		text = "[]"
	case "map", "object":
		text = "{}"
	}
	return workflow.Value{JSON: json.RawMessage(text)}
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

// body evaluates the body of one instance; nil for a join.
func (r *renderer) body(n int, each *workflow.Each) ([]byte, error) {
	t := &r.def.Tasks[n]
	if t.Body == nil {
		return nil, nil
	}
	scope := r.scope(n)
	scope.Each, scope.Attempt = each, &workflow.AttemptValues{Number: 1}
	v, err := r.eval.Evaluate(*t.Body, scope)
	return v.JSON, err
}

// firstBody is the body of the first instance of task n, if there is one that can be evaluated.
func (r *renderer) firstBody(n int) ([]byte, bool) {
	t := &r.def.Tasks[n]
	if r.failed[t.Name] != nil || len(r.eachOf[t.Name]) == 0 {
		return nil, false
	}
	body, err := r.body(n, r.eachOf[t.Name][0])
	return body, err == nil && body != nil
}

// jobs are those of the wanted instances of task n; seen counts the instances, those without a body too.
func (r *renderer) jobs(n int, wanted func(*workflow.Task, *workflow.Each) bool) (jobs [][]byte, seen int, err error) {
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
		if body == nil {
			continue
		}
		rendering := nomad.Rendering{Definition: r.def, Run: renderedRun, Task: n, Instance: i, Body: body}
		if each != nil {
			rendering.Key = each.Key
		}
		job, err := nomad.Render(rendering)
		if err != nil {
			return jobs, seen, err
		}
		jobs = append(jobs, job)
	}
	return jobs, seen, nil
}
