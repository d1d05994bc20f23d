// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// keptFrames is how many shared scopes an evaluator remembers. The instances and attempts of one task share a scope, and
// few tasks expand or start at the same moment. keptInstances bounds the memory: one instance that others see takes about
// 1 KiB in the form expressions read.
//
// keptBodies bounds the bytes of the rendered bodies that an evaluator remembers: those of the largest workflow, at the
// usual size of one, 1 KiB.
const (
	keptFrames    = 64
	keptInstances = 200_000
	keptBodies    = 16 << 20
)

// Evaluator evaluates the expressions of one definition. It is pure, and safe for use by several goroutines.
type Evaluator struct {
	def  *workflow.Definition
	open func() (*opened, error) // the files are parsed when the first expression is evaluated
	// outputs are the declared outputs by the place of their types.
	outputs func() map[workflow.Range]declaredOutput

	mu     sync.Mutex
	frames map[*workflow.Shared]*frame // guarded by mu
	order  []*workflow.Shared          // oldest first; guarded by mu
	kept   int                         // instances in all of them; guarded by mu
	types  map[string]outputType       // guarded by mu
	// children are the definitions that Child made, by source and name; guarded by mu.
	children map[[2]string]child
}

// opened is a definition's source in the form expressions are evaluated from.
type opened struct {
	flow  *flow
	sites map[workflow.Range]*site
	tasks map[workflow.Range]*task

	mu       sync.Mutex                // guards everything below, and the compiled bodies of the tasks
	rendered map[*task]json.RawMessage // bodies that are the same for every attempt of every run
	bytes    int                       // in rendered
}

// NewEvaluator returns the evaluator of a definition that Compile made. It does no work yet.
func NewEvaluator(def *workflow.Definition) (*Evaluator, error) {
	if len(def.Files) == 0 {
		return nil, fmt.Errorf("definition of %s holds no files", def.Name)
	}
	return newEvaluator(def, func() (*opened, error) { return open(def) }), nil
}

func newEvaluator(def *workflow.Definition, open func() (*opened, error)) *Evaluator {
	return &Evaluator{
		def:      def,
		open:     sync.OnceValues(open),
		outputs:  sync.OnceValue(func() map[workflow.Range]declaredOutput { return declaredOutputs(def) }),
		frames:   map[*workflow.Shared]*frame{},
		types:    map[string]outputType{},
		children: map[[2]string]child{},
	}
}

func open(def *workflow.Definition) (*opened, error) {
	f := &findings{}
	fl, ok := reopen(def, f)
	if ok {
		fl.link(f)
	}
	if f.list.HasErrors() {
		return nil, fmt.Errorf("definition %s of workflow %s no longer compiles: %s", def.Hash, def.Name, f.sorted()[0])
	}
	return openedFlow(fl), nil
}

// openedFlow indexes a flow that is linked.
func openedFlow(fl *flow) *opened {
	o := &opened{flow: fl, sites: map[workflow.Range]*site{}, tasks: map[workflow.Range]*task{}, rendered: map[*task]json.RawMessage{}}
	for _, t := range fl.tasks {
		o.tasks[rangeOf(t.block.Range())] = t
		for _, s := range t.sites() {
			o.sites[rangeOf(s.expr.Range())] = s
		}
	}
	for _, out := range fl.outputs {
		o.sites[rangeOf(out.value.expr.Range())] = out.value
	}
	return o
}

// Evaluate gives the value of an expression:
//
//   - ExprValue: the value, converted to what its place wants. Durations are text as Go writes it, a set is a sorted list.
//   - ExprBody: the canonical JSON of the Nomad job, as a JSON object.
//   - ExprConvert: scope.Input as the type of the output.
//
// The error is a sentence with the place in front. It names the tasks whose missing outputs are to blame, and never holds a
// sensitive value.
func (e *Evaluator) Evaluate(expr workflow.Expr, scope workflow.Scope) (workflow.Value, error) {
	if expr.Kind == workflow.ExprConvert {
		return e.convert(expr, scope.Input)
	}
	o, err := e.open()
	if err != nil {
		return workflow.Value{}, err
	}
	if scope.Shared == nil {
		scope.Shared = &workflow.Shared{}
	}
	switch expr.Kind {
	case workflow.ExprValue:
		s := o.sites[expr.Range]
		if s == nil {
			return workflow.Value{}, fmt.Errorf("%sno expression of workflow %s stands here", place(expr.Range), e.def.Name)
		}
		return e.value(o, s, scope)
	case workflow.ExprBody:
		t := o.tasks[expr.Range]
		if t == nil || t.kindOfBody == workflow.BodyJoin {
			return workflow.Value{}, fmt.Errorf("%sno task of workflow %s with a body stands here", place(expr.Range), e.def.Name)
		}
		return e.body(o, t, scope)
	}
	return workflow.Value{}, fmt.Errorf("%sexpressions of kind %q are unknown", place(expr.Range), expr.Kind)
}

// value evaluates the expression of a site.
func (e *Evaluator) value(o *opened, s *site, scope workflow.Scope) (workflow.Value, error) {
	v, secret, err := e.evaluated(o, s, scope)
	if err != nil {
		return workflow.Value{}, err
	}
	if t := s.task; t != nil && s == t.forEach {
		if bad := e.frame(o, scope.Shared).secretKeys(t, v); bad != nil {
			return workflow.Value{}, fmt.Errorf("%s%s %s", place(rangeOf(bad.at())), bad.name, map[bool]string{true: whySecretKey, false: whySecretKeys}[bad == t.key])
		}
	}
	v, _ = v.UnmarkDeep()
	out, err := fromCty(v)
	if err != nil {
		return workflow.Value{}, fmt.Errorf("%s%s %w", place(rangeOf(s.at())), s.name, err)
	}
	out.Sensitive = secret
	return out, nil
}

// evaluated is the value of a site, converted to what its place wants, and whether anything in it is sensitive. The marks
// of a value that may be anything are kept.
func (e *Evaluator) evaluated(o *opened, s *site, scope workflow.Scope) (v cty.Value, secret bool, err error) {
	frame, m := e.frame(o, scope.Shared), s.mode()
	ctx, diags := frame.context(s.refs, m)
	if !diags.HasErrors() {
		if ctx, err = inScope(ctx, s, scope, m); err != nil {
			return v, false, fmt.Errorf("%s%s: %w", place(rangeOf(s.at())), s.name, err)
		}
		v, diags = s.exprFor(m).Value(ctx)
	}
	if diags.HasErrors() {
		return v, false, frame.failure(s, diags, scope)
	}
	secret = v.ContainsMarked() || m == forBody && frame.readsSecret(s.refs, &scope)
	plain, marks := v.UnmarkDeepWithPaths()
	blame := o.flow.blame(s.refs, scope)
	if s.optional && plain.IsNull() && (blame == "" || !isReference(s.expr)) {
		return plain, secret, nil
	}
	v, err = s.kind.convert(plain)
	if err != nil {
		if secret && !errors.Is(err, errNull) {
			err = errHidden
		}
		return v, secret, fmt.Errorf("%s%s %s%s", place(rangeOf(s.at())), s.name, sentence(err), blame)
	}
	if v.Type().Equals(plain.Type()) {
		v = v.MarkWithPaths(marks)
	}
	return v, secret, nil
}

// inScope adds what belongs to one instance and attempt.
func inScope(ctx *hcl.EvalContext, s *site, scope workflow.Scope, m mode) (*hcl.EvalContext, error) {
	var each, attempt map[string]cty.Value
	if s.refs.each && scope.Each != nil {
		v, err := toCty(scope.Each.Value.JSON, cty.DynamicPseudoType)
		if err != nil {
			return nil, fmt.Errorf("each.value is %w", err)
		}
		if scope.Each.Value.Sensitive {
			v = v.Mark(sensitive)
		}
		each = map[string]cty.Value{
			"key": prepare(cty.StringVal(scope.Each.Key), m), "value": prepare(v, m), "index": cty.NumberIntVal(int64(scope.Each.Index)),
		}
	}
	if s.refs.attempt && scope.Attempt != nil {
		attempt = attemptValues(scope.Attempt, m)
	}
	return instanceContext(ctx, each, attempt), nil
}

func attemptValues(a *workflow.AttemptValues, m mode) map[string]cty.Value {
	out := map[string]cty.Value{"number": cty.NumberIntVal(int64(a.Number))}
	if !a.Ended {
		return out
	}
	out["exit_code"] = cty.NullVal(cty.Number)
	if a.ExitCode != nil {
		out["exit_code"] = cty.NumberIntVal(int64(*a.ExitCode))
	}
	out["signal"] = cty.NumberIntVal(int64(a.Signal))
	out["oom"] = cty.BoolVal(a.OOM)
	out["reason"] = cty.StringVal(a.Reason)
	out["message"] = prepare(cty.StringVal(a.Message), m)
	out["node"] = prepare(cty.StringVal(a.Node), m)
	out["duration"] = cty.NumberFloatVal(a.Duration.Seconds())
	return out
}

// evaluate gives the value of a site outside of tasks.
func (f *frame) evaluate(s *site, m mode) (cty.Value, hcl.Diagnostics) {
	ctx, diags := f.context(s.refs, m)
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	return s.exprFor(m).Value(ctx)
}

// frame returns the frame of a shared scope, a new one if it was not seen lately.
func (e *Evaluator) frame(o *opened, shared *workflow.Shared) *frame {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.frames[shared]; f != nil {
		return f
	}
	f := newFrame(o.flow, &liveWorld{flow: o.flow, shared: shared})
	f.weight = instances(shared)
	e.kept += f.weight
	for len(e.order) > 0 && (len(e.order) >= keptFrames || e.kept > keptInstances) {
		e.kept -= e.frames[e.order[0]].weight
		delete(e.frames, e.order[0])
		e.order = e.order[1:]
	}
	e.frames[shared] = f
	e.order = append(e.order, shared)
	return f
}

// instances is how many instances of tasks a scope holds.
func instances(shared *workflow.Shared) int {
	n := 0
	for _, t := range shared.Tasks {
		if t != nil {
			n += len(t.Instances)
		}
	}
	return n
}

// failure is the error for an expression that could not be evaluated: the place, the reason, and whose missing outputs are
// behind it.
func (f *frame) failure(s *site, diags hcl.Diagnostics, scope workflow.Scope) error {
	d := diags[0]
	for _, other := range diags {
		if other.Severity == hcl.DiagError {
			d = other
			break
		}
	}
	at := s.at()
	if d.Subject != nil {
		at = *d.Subject
	}
	text := detailOf(d)
	switch {
	case f.readsSecret(s.refs, &scope):
		text = d.Summary + ". " + withheld
	case text == "":
		text = d.Summary + "."
	}
	return errors.New(place(rangeOf(at)) + s.name + ": " + text + f.flow.blame(s.refs, scope))
}

// blame names the outputs an expression reads that are null because their task did not give them.
func (fl *flow) blame(r *refs, scope workflow.Scope) string {
	if r == nil || scope.Shared == nil {
		return ""
	}
	var parts []string
	seen := map[string]bool{}
	add := func(r *refs) {
		if r == nil {
			return
		}
		for _, ref := range r.outputs {
			if fl.taskByName[ref.task].shape() != workflow.ShapePlain {
				continue
			}
			if why := missing(ref, scope.Shared.Tasks[ref.task]); why != "" && !seen[why] {
				seen[why] = true
				parts = append(parts, why)
			}
		}
		for _, name := range r.tasks {
			if why := fl.missingSome(name, scope.Shared.Tasks[name]); why != "" && !seen[why] {
				seen[why] = true
				parts = append(parts, why)
			}
		}
	}
	add(r)
	anyLocal(r.locals, func(l *local) bool { add(l.site.refs); return false })
	const most = 5
	if len(parts) > most {
		parts = parts[:most]
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " ")
}

// missing says why a plain task's output is null, or nothing when it is not.
func missing(ref outputRef, t *workflow.TaskValues) string {
	if t == nil {
		t = &workflow.TaskValues{Status: workflow.Pending}
	}
	if t.Shape != workflow.ShapePlain || len(t.Instances) > 0 && !t.Instances[0].Outputs[ref.output].Null() {
		return ""
	}
	return fmt.Sprintf("task.%s.output.%s is null because task %s %s.", ref.task, ref.output, ref.task, became(t.Status))
}

// missingSome says which instances of a fan-out have null outputs.
func (fl *flow) missingSome(name string, t *workflow.TaskValues) string {
	if t == nil || t.Shape == workflow.ShapePlain {
		return ""
	}
	for _, in := range t.Instances {
		if in.Status == workflow.Succeeded {
			continue
		}
		for _, v := range in.Outputs {
			if v.Null() {
				return fmt.Sprintf("The outputs of task.%s[%q] are null because that instance %s.", name, in.Key, became(in.Status))
			}
		}
	}
	if len(t.Instances) == 0 {
		return fmt.Sprintf("task.%s is empty because task %s %s.", name, name, became(t.Status))
	}
	return ""
}

func became(s workflow.Status) string {
	switch s {
	case workflow.Succeeded, workflow.Failed:
		return string(s) + " without writing it"
	case workflow.Skipped, workflow.Omitted, workflow.Cancelled:
		return "was " + string(s)
	}
	return "is not over yet (" + string(s) + ")"
}
