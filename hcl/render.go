// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// renderer renders the body of one attempt. Its methods stop at the first error, which canonical returns.
type renderer struct {
	*Evaluator
	opened *opened
	task   *task
	scope  workflow.Scope
	ctx    *hcl.EvalContext // for what is Nomad's
	secret bool             // something in the body is sensitive
	err    error
}

// canonical is a rendered body as JSON.
func (r *renderer) canonical(body any) (workflow.Value, error) {
	if r.err != nil {
		return workflow.Value{}, r.err
	}
	s := r.task.bodySite
	raw, err := jobspec.Canonical(body)
	if err != nil {
		return workflow.Value{}, fmt.Errorf("%sthe body of task %s: %w", place(rangeOf(r.task.block.DefRange())), r.task.name, err)
	}
	if s != nil {
		r.secret = r.secret || r.frame(r.opened, r.scope.Shared).readsSecret(s.refs, &r.scope)
	}
	return workflow.Value{JSON: raw, Sensitive: r.secret}, nil
}

// part is the value of an attribute of the body; not ok when it is not written, or null.
func (r *renderer) part(name string) (cty.Value, bool) {
	s := r.task.parts[name]
	if s == nil || r.err != nil {
		return cty.NilVal, false
	}
	v, secret, err := r.evaluated(r.opened, s, r.scope)
	r.secret = r.secret || secret
	if err != nil {
		r.err = err
		return cty.NilVal, false
	}
	if name != "params" && name != "vars" {
		v, _ = v.UnmarkDeep()
	}
	return v, !v.IsNull()
}

func (r *renderer) text(name string) string {
	if v, ok := r.part(name); ok {
		return v.AsString()
	}
	return ""
}

func (r *renderer) textMap(name string) map[string]string {
	v, ok := r.part(name)
	if !ok || v.LengthInt() == 0 {
		return nil
	}
	out := make(map[string]string, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		out[k.AsString()] = e.AsString()
	}
	return out
}

// decoded is the value of what Nomad's decoder made of a body, unless it found errors.
func decoded[T any](r *renderer, v T, diags hcl.Diagnostics) T {
	if r.err == nil && diags.HasErrors() {
		r.err = r.frame(r.opened, r.scope.Shared).failure(r.task.bodySite, diags, r.scope)
	}
	return v
}

// noNull reports an argument of Nomad's that is null because a task gave no output.
func (r *renderer) noNull(body *jobspec.Body) {
	blame := r.opened.flow.blame(r.task.bodySite.refs, r.scope)
	if r.err != nil || blame == "" {
		return
	}
	if expr := nullArgument(body.Expressions(), r.ctx); expr != nil {
		r.err = fmt.Errorf("%s%s: null stands where a value is needed.%s", place(rangeOf(expr.Range())), r.task.bodySite.name, blame)
	}
}

// nomadJob is the job of a Nomad task or group.
func (r *renderer) nomadJob() any {
	job, diags := r.task.nomad.Job(r.ctx, r.task.name)
	if job = decoded(r, job, diags); r.err != nil {
		return nil
	}
	r.noNull(r.task.nomad)
	if r.opened.flow.constants["priority"] != nil {
		job.Priority = &r.def.Priority
	}
	if job.Namespace == nil {
		job.Namespace = &r.def.Namespace
	}
	return job
}

// jobFile is an existing job. What its file does not say of namespace and region comes from here, as with the flags of
// `nomad job run`.
func (r *renderer) jobFile() any {
	vars := map[string]cty.Value{}
	r.named("vars", func(name string, v cty.Value) {
		vars[name], _ = v.UnmarkDeep()
	}, func(string) bool { return false })
	if r.err != nil {
		return nil
	}
	job, diags := r.task.job.Decode(vars)
	if r.secret && diags.HasErrors() {
		r.err = fmt.Errorf("%sthe body of task %s: the job file cannot be evaluated. %s", place(rangeOf(r.task.content.TypeRange)), r.task.name, withheld)
		return nil
	}
	if job = decoded(r, job, diags); r.err != nil {
		return nil
	}
	placed, diags := r.task.placed.DecodeTask(r.ctx)
	if placed = decoded(r, placed, diags); r.err != nil {
		return nil
	}
	if job.Namespace == nil {
		if job.Namespace = placed.Job.Namespace; job.Namespace == nil {
			job.Namespace = &r.def.Namespace
		}
	}
	if job.Region == nil {
		job.Region = placed.Job.Region
	}
	return job
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (r *renderer) dispatch() any {
	out := workflow.DispatchBody{Job: r.text("job"), Meta: r.textMap("meta"), Namespace: r.def.Namespace}
	if payload := r.text("payload"); payload != "" {
		out.Payload = []byte(payload)
	}
	if r.err != nil {
		return nil
	}
	placed, diags := r.task.placed.DecodeTask(r.ctx)
	if placed = decoded(r, placed, diags); r.err != nil {
		return nil
	}
	if ns := placed.Job.Namespace; ns != nil {
		out.Namespace = *ns
	}
	out.Region = deref(placed.Job.Region)
	if r.opened.flow.constants["priority"] != nil {
		out.Priority = r.def.Priority
	}
	return out
}

func (r *renderer) child() any {
	out := workflow.ChildBody{Workflow: r.task.call.name, Source: r.task.call.source}
	r.named("params", func(name string, v cty.Value) {
		value, err := fromCty(v)
		if err != nil {
			r.err = fmt.Errorf("%sparam %s of workflow %s %w", place(rangeOf(r.task.parts["params"].at())), name, r.task.call.name, err)
		}
		if out.Params == nil {
			out.Params = map[string]workflow.Value{}
		}
		out.Params[name] = value
	}, r.nullable)
	return out
}

// named walks the elements of an attribute that holds values by name. Null because a task gave no output is an error, but
// where it is a value.
func (r *renderer) named(attr string, visit func(name string, v cty.Value), nullable func(name string) bool) {
	v, ok := r.part(attr)
	if !ok {
		return
	}
	s := r.task.parts[attr]
	blame := r.opened.flow.blame(s.refs, r.scope)
	v, marks := v.Unmark()
	for it := v.ElementIterator(); it.Next() && r.err == nil; {
		k, e := it.Element()
		k, _ = k.Unmark()
		if plain, _ := e.Unmark(); plain.IsNull() && blame != "" && !nullable(k.AsString()) {
			r.err = fmt.Errorf("%s%s: %s is null where a value is needed.%s", place(rangeOf(s.at())), s.name, k.AsString(), blame)
			return
		}
		visit(k.AsString(), e.WithMarks(marks))
	}
}

// nullable reports whether null is a value of a param of the child.
func (r *renderer) nullable(name string) bool {
	child := r.task.call.flow
	return child != nil && child.paramByName[name] != nil && child.paramByName[name].nullable
}

func (r *renderer) approval() any {
	out := workflow.ApprovalBody{OnTimeout: workflow.OnTimeoutReject}
	if v, ok := r.part("approvers"); ok {
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			out.Approvers = append(out.Approvers, e.AsString())
		}
	}
	if r.task.kind == workflow.KindFinally {
		out.Timeout = workflow.FinallyTimeout
	}
	if v, ok := r.part("timeout"); ok {
		out.Timeout = duration(v)
	}
	if word := r.text("on_timeout"); word != "" {
		out.OnTimeout = workflow.OnTimeout(word)
	}
	return out
}

func (r *renderer) wait() any {
	var out workflow.WaitBody
	if v, ok := r.part("duration"); ok {
		out.Duration = duration(v)
	}
	if v, ok := r.part("until"); ok {
		out.Until = moment(v)
	}
	return out
}

func (r *renderer) http() any {
	out := workflow.HTTPBody{
		Method: r.text("method"), URL: r.text("url"), Headers: r.textMap("headers"), Body: r.text("body"), Timeout: workflow.DefaultHTTPTimeout,
	}
	if out.Method == "" {
		out.Method = "GET"
	}
	if v, ok := r.part("expect_status"); ok {
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			code, _ := whole(e)
			out.ExpectStatus = append(out.ExpectStatus, code)
		}
	}
	if v, ok := r.part("timeout"); ok {
		out.Timeout = duration(v)
	}
	if v, ok := r.part("idempotent"); ok {
		out.Idempotent = v.True()
	}
	return out
}
