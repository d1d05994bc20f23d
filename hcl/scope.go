// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// mode says what an evaluation is for. What goes into a body carries the marks that keep data from becoming a template, and
// none of the marks of sensitive values: a job is in clear anyway. Everything else is the other way round.
type mode int

const (
	forValue mode = iota
	forBody
)

// functionSets are the functions for either mode.
type functionSets struct {
	plain, guarded map[string]function.Function
}

// newFunctionSets are the functions as the files of one folder of a bundle see them.
func newFunctionSets(b *bundle, dir string) functionSets {
	return functionSets{plain: functionsIn(b, dir, forValue), guarded: functionsIn(b, dir, forBody)}
}

func (s functionSets) of(m mode) map[string]function.Function {
	if m == forBody {
		return s.guarded
	}
	return s.plain
}

// world gives values to names: unknown ones of the declared types while a file is checked, real ones while it runs. Values
// come as they are, marks of sensitive ones included.
type world interface {
	params() map[string]cty.Value
	run() map[string]cty.Value
	// task is the value of one task and the status of the whole.
	task(name string) (value, status cty.Value)
}

// frame evaluates against one world. It is safe for use by several goroutines.
type frame struct {
	flow   *flow
	world  world
	weight int // instances of tasks in its world

	mu sync.Mutex
	// Everything below is guarded by mu and computed once.
	params, run [2]cty.Value
	tasks       map[string][2]cty.Value // value and status
	locals      [2]map[*local]localValue
	contexts    map[contextKey]*hcl.EvalContext
	secrets     map[*refs]bool // of expressions that read something sensitive of the view
}

type contextKey struct {
	refs *refs
	mode mode
}

type localValue struct {
	value cty.Value
	diags hcl.Diagnostics
}

func newFrame(fl *flow, w world) *frame {
	return &frame{flow: fl, world: w, tasks: map[string][2]cty.Value{}, locals: [2]map[*local]localValue{{}, {}}, contexts: map[contextKey]*hcl.EvalContext{},
		secrets: map[*refs]bool{}}
}

// prepare makes a value of the world fit for a mode.
func prepare(v cty.Value, m mode) cty.Value {
	if m == forValue {
		return v
	}
	if v.ContainsMarked() {
		v, _ = v.UnmarkDeep()
	}
	return jobspec.Data(v)
}

// context is the scope of an expression that reads r. The diagnostics are those of locals it needs. It is kept: expressions
// of one task are evaluated for each of its instances.
func (f *frame) context(r *refs, m mode) (*hcl.EvalContext, hcl.Diagnostics) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx := f.contexts[contextKey{r, m}]; ctx != nil {
		return ctx, nil
	}
	ctx, diags := f.build(r, m)
	if !diags.HasErrors() {
		f.contexts[contextKey{r, m}] = ctx
	}
	return ctx, diags
}

// build makes a context; f.mu is held.
func (f *frame) build(r *refs, m mode) (*hcl.EvalContext, hcl.Diagnostics) {
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: f.flow.module.funcs.of(m)}
	if len(r.params) > 0 {
		ctx.Variables["param"] = f.object(&f.params, m, f.world.params)
	}
	if r.run {
		ctx.Variables["run"] = f.object(&f.run, m, f.world.run)
	}
	if len(r.tasks) > 0 {
		values, statuses := make(map[string]cty.Value, len(r.tasks)), map[string]cty.Value{}
		for _, name := range r.tasks {
			pair, ok := f.tasks[name]
			if !ok {
				pair[0], pair[1] = f.world.task(name)
				f.tasks[name] = pair
			}
			values[name] = prepare(pair[0], m)
			if r.status {
				statuses[name] = cty.ObjectVal(map[string]cty.Value{"status": pair[1]})
			}
		}
		ctx.Variables["task"] = cty.ObjectVal(values)
		if r.status {
			ctx.Variables[statusRoot] = cty.ObjectVal(statuses)
		}
	}
	if len(r.locals) == 0 {
		return ctx, nil
	}
	var diags hcl.Diagnostics
	locals := make(map[string]cty.Value, len(r.locals))
	for _, l := range r.locals {
		v := f.local(l, m)
		locals[l.name] = v.value
		diags = append(diags, v.diags...)
	}
	ctx.Variables["local"] = cty.ObjectVal(locals)
	return ctx, diags
}

func (f *frame) object(kept *[2]cty.Value, m mode, values func() map[string]cty.Value) cty.Value {
	if kept[m] == cty.NilVal {
		prepared := values()
		if m == forBody {
			for name, v := range prepared {
				prepared[name] = prepare(v, m)
			}
		}
		kept[m] = cty.ObjectVal(prepared)
	}
	return kept[m]
}

// local evaluates a local once; f.mu is held. Locals never refer to themselves: that was checked.
func (f *frame) local(l *local, m mode) localValue {
	if v, ok := f.locals[m][l]; ok {
		return v
	}
	if l.site.circular {
		return localValue{value: cty.DynamicVal}
	}
	ctx, diags := f.build(l.site.refs, m)
	v := localValue{value: cty.DynamicVal, diags: diags}
	if !diags.HasErrors() {
		v.value, v.diags = l.site.exprFor(m).Value(ctx)
		if v.diags.HasErrors() {
			v.value = cty.DynamicVal
		}
		if m == forBody && v.value.ContainsMarked() {
			v.value, _ = v.value.UnmarkDeep()
		}
	}
	f.locals[m][l] = v
	return v
}

// exprFor is the expression in the form a mode needs.
func (s *site) exprFor(m mode) hclsyntax.Expression {
	if m == forBody && s.bodyExpr != nil {
		return s.bodyExpr
	}
	return s.expr
}

// instanceContext adds each.* and attempt.* to the scope of a task.
func instanceContext(ctx *hcl.EvalContext, each, attempt map[string]cty.Value) *hcl.EvalContext {
	if each == nil && attempt == nil {
		return ctx
	}
	child := ctx.NewChild()
	child.Variables = make(map[string]cty.Value, 2)
	if each != nil {
		child.Variables["each"] = cty.ObjectVal(each)
	}
	if attempt != nil {
		child.Variables["attempt"] = cty.ObjectVal(attempt)
	}
	return child
}

// outputsType is the type of task.x.output.
func (t *task) outputsType() cty.Type {
	attrs := make(map[string]cty.Type, len(t.outputs))
	for _, o := range t.outputs {
		attrs[o.name] = safeType(o.ty)
	}
	return cty.Object(attrs)
}

// instanceType is the type of one instance as others see it.
func (t *task) instanceType() cty.Type {
	return cty.Object(map[string]cty.Type{"status": cty.String, "output": t.outputsType()})
}

// uniform reports whether all instances have the same type, so that they can be a map or list. An output of any type keeps
// them from it.
func (t *task) uniform() bool { return !t.instanceType().HasDynamicTypes() }

// unknownWorld has values of the declared types that nobody knows yet.
type unknownWorld struct {
	flow    *flow
	values  map[string]cty.Value // of params that are known
	secrets map[string]bool      // of params that are sensitive though nobody declared it
}

func (w unknownWorld) params() map[string]cty.Value {
	out := make(map[string]cty.Value, len(w.flow.params))
	for _, p := range w.flow.params {
		v, known := w.values[p.name]
		if !known {
			v = cty.UnknownVal(safeType(p.ty))
			if !p.nullable && p.ty != cty.DynamicPseudoType {
				v = v.RefineNotNull()
			}
		}
		if p.sensitive || w.secrets[p.name] {
			v = v.Mark(sensitive)
		}
		out[p.name] = v
	}
	return out
}

func someText() cty.Value { return cty.UnknownVal(cty.String).RefineNotNull() }

func (unknownWorld) run() map[string]cty.Value {
	return map[string]cty.Value{
		"id": someText(), "workflow": someText(), "version": someText(), "namespace": someText(), "trigger": someText(), "url": someText(),
		"scheduled_at": someText(), "started_at": someText(), "status": someText(), "failed_tasks": cty.UnknownVal(cty.List(cty.String)).RefineNotNull(),
	}
}

func (w unknownWorld) task(name string) (cty.Value, cty.Value) {
	t := w.flow.taskByName[name]
	if t == nil {
		return cty.DynamicVal, someText()
	}
	outputs := make(map[string]cty.Value, len(t.outputs))
	marked := false
	for _, o := range t.outputs {
		v := cty.UnknownVal(safeType(o.ty))
		if o.sensitive {
			v, marked = v.Mark(sensitive), true
		}
		outputs[o.name] = v
	}
	var v cty.Value
	switch shape := t.shape(); {
	case shape == workflow.ShapePlain:
		return cty.ObjectVal(map[string]cty.Value{"status": someText(), "output": cty.ObjectVal(outputs)}), someText()
	case !t.uniform():
		v = cty.DynamicVal
	case shape == workflow.ShapeMap:
		v = cty.UnknownVal(cty.Map(t.instanceType())).RefineNotNull()
	default:
		v = cty.UnknownVal(cty.List(t.instanceType())).RefineNotNull()
	}
	if marked {
		v = v.Mark(sensitive)
	}
	return v, someText()
}

// unknownEach is each.* of a task whose instances are not known.
func unknownEach(t *task) map[string]cty.Value {
	v := cty.UnknownVal(t.element)
	if t.count != nil {
		v = cty.UnknownVal(cty.Number).RefineNotNull()
	}
	return map[string]cty.Value{"key": someText(), "value": v, "index": cty.UnknownVal(cty.Number).RefineNotNull()}
}

// unknownAttempt is attempt.*: of a body its number, of retry.when all of it.
func unknownAttempt(ended bool) map[string]cty.Value {
	number := cty.UnknownVal(cty.Number).RefineNotNull()
	if !ended {
		return map[string]cty.Value{"number": number}
	}
	return map[string]cty.Value{
		"number": number, "exit_code": cty.UnknownVal(cty.Number), "signal": number, "oom": cty.UnknownVal(cty.Bool).RefineNotNull(),
		"reason": someText(), "message": someText(), "node": someText(), "duration": number,
	}
}
