// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/cairnflow/cairn/internal/workflow"
)

// body renders what one attempt of a task does. What identifies the attempt is the executor's to add.
func (e *Evaluator) body(o *opened, t *task, scope workflow.Scope) (workflow.Value, error) {
	if t.kindOfBody.Cluster() {
		return e.clusterBody(o, t, scope)
	}
	r := &renderer{Evaluator: e, opened: o, task: t, scope: scope}
	var body any
	switch t.kindOfBody {
	case workflow.BodyRunWorkflow:
		body = r.child()
	case workflow.BodyApproval:
		body = r.approval()
	case workflow.BodyWait:
		body = r.wait()
	case workflow.BodyHTTP:
		body = r.http()
	}
	return r.canonical(body)
}

// clusterBody renders a body that runs on workers: over the defaults, with the placement of the workflow.
func (e *Evaluator) clusterBody(o *opened, t *task, scope workflow.Scope) (workflow.Value, error) {
	s, rendered, err := o.body(t)
	if err != nil || rendered != nil {
		return workflow.Value{JSON: rendered}, err
	}
	frame := e.frame(o, scope.Shared)
	ctx, diags := frame.context(s.refs, forBody)
	if diags.HasErrors() {
		return workflow.Value{}, frame.failure(s, diags, scope)
	}
	if ctx, err = inScope(ctx, s, scope, forBody); err != nil {
		return workflow.Value{}, fmt.Errorf("%s%s: %w", place(rangeOf(s.at())), s.name, err)
	}
	r := &renderer{Evaluator: e, opened: o, task: t, scope: scope, ctx: ctx}
	var body any
	switch t.kindOfBody {
	case workflow.BodyTask, workflow.BodyGroup:
		body = r.nomadJob()
	case workflow.BodyJob:
		body = r.jobFile()
	case workflow.BodyDispatch:
		body = r.dispatch()
	}
	out, err := r.canonical(body)
	if err != nil {
		return workflow.Value{}, err
	}
	constant := s.refs.constant()
	for _, p := range t.bodyParts() {
		constant = constant && p.refs.constant()
	}
	if constant {
		o.keep(t, out.JSON)
	}
	return out, nil
}

// constant reports whether what reads r has the same value always and everywhere.
func (r *refs) constant() bool {
	own := len(r.params) == 0 && len(r.tasks) == 0 && len(r.outputs) == 0 && !r.run && !r.end && !r.each && !r.attempt && !r.status
	return own && !anyLocal(r.locals, func(l *local) bool {
		return l.site.refs == nil || len(l.site.refs.params) > 0 || len(l.site.refs.tasks) > 0 || len(l.site.refs.outputs) > 0 ||
			l.site.refs.run || l.site.refs.end || l.site.refs.status
	})
}

// nullArgument finds an argument that is nothing but a reference to null, or a list with null in it. Nomad takes the one
// for absent and hands the other to a driver, which fails with a sentence about something else. Null that an author wrote
// or computed is left alone.
func nullArgument(exprs []hclsyntax.Expression, ctx *hcl.EvalContext) hclsyntax.Expression {
	for _, expr := range exprs {
		bare := unwrapped(expr)
		list, isList := bare.(*hclsyntax.TupleConsExpr)
		switch {
		case isReference(bare):
			if v, diags := bare.Value(ctx); !diags.HasErrors() && v.IsNull() {
				return bare
			}
		case isList:
			for _, e := range list.Exprs {
				if v, diags := e.Value(ctx); !diags.HasErrors() && v.IsNull() {
					return e
				}
			}
		}
	}
	return nil
}

// unwrapped is the expression in "${…}".
func unwrapped(expr hclsyntax.Expression) hclsyntax.Expression {
	if wrap, ok := expr.(*hclsyntax.TemplateWrapExpr); ok {
		return wrap.Wrapped
	}
	return expr
}

// isReference reports whether an expression is nothing but a reference.
func isReference(expr hclsyntax.Expression) bool {
	_, reference := unwrapped(expr).(*hclsyntax.ScopeTraversalExpr)
	return reference
}

// body compiles a task's body the first time it is needed. rendered is not nil when the body was rendered before and cannot
// come out differently.
func (o *opened) body(t *task) (s *site, rendered json.RawMessage, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.bodySite != nil {
		return t.bodySite, o.rendered[t], nil
	}
	f := &findings{}
	s = o.flow.linkBody(t, f)
	if f.list.HasErrors() {
		t.bodySite = nil
		return nil, nil, fmt.Errorf("%s", f.sorted()[0])
	}
	return s, nil, nil
}

// keep remembers a body that is always the same.
func (o *opened) keep(t *task, body json.RawMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rendered[t] == nil && o.bytes+len(body) <= keptBodies {
		o.rendered[t] = body
		o.bytes += len(body)
	}
}
