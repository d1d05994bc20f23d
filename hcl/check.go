// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// checker evaluates a flow with unknown values and reports what cannot be right whatever they turn out to be.
type checker struct {
	*findings
	flow    *flow
	frame   *frame
	dynamic map[*site]bool  // policy attributes whose values are not known yet
	picked  []hcl.Traversal // references that pick an instance by a constant
	scope   *workflow.Scope // of values that are known, which may be sensitive; nil when none is
}

func newChecker(fl *flow, f *findings) *checker {
	return &checker{findings: f, flow: fl, frame: newFrame(fl, unknownWorld{flow: fl}), dynamic: map[*site]bool{}}
}

// check looks at everything but the tasks, which compile goes through one by one.
func (c *checker) check() {
	for _, p := range c.flow.params {
		c.param(p)
	}
	for _, l := range c.flow.allLocals() {
		c.splats(l.attr.Expr)
		m := forValue
		if anyLocal([]*local{l}, func(l *local) bool { return l.site.refs.nomad }) {
			m = forBody
		}
		c.frame.mu.Lock()
		v := c.frame.local(l, m)
		c.frame.mu.Unlock()
		c.addNew(v.diags)
		ctx, _ := c.frame.context(l.site.refs, m)
		c.probe(l.site.exprFor(m), ctx)
	}
}

// value evaluates a site and converts it to what it must be. It is not ok when there is nothing to go on with.
func (c *checker) value(s *site) (cty.Value, bool) {
	if s.circular {
		return cty.DynamicVal, false
	}
	ctx, diags := c.frame.context(s.refs, s.mode())
	if diags.HasErrors() {
		return cty.DynamicVal, false // reported at the local
	}
	return c.valueIn(s, c.inTask(s, ctx))
}

// inTask adds each.* and attempt.* where the site may read them.
func (c *checker) inTask(s *site, ctx *hcl.EvalContext) *hcl.EvalContext {
	var each, attempt map[string]cty.Value
	if s.task != nil && s.refs.each && s.task.fanned() {
		each = unknownEach(s.task)
	}
	if s.refs.attempt {
		attempt = unknownAttempt(s.access&readAttempt != 0)
	}
	return instanceContext(ctx, each, attempt)
}

func (c *checker) valueIn(s *site, ctx *hcl.EvalContext) (cty.Value, bool) {
	c.splats(s.expr)
	expr := s.exprFor(s.mode())
	v, diags := expr.Value(ctx)
	c.addNew(c.redacted(diags, s.refs))
	c.probe(expr, ctx)
	if diags.HasErrors() {
		return cty.DynamicVal, false
	}
	s.secret = v.ContainsMarked() || s.mode() == forBody && c.flow.readsSecret(s.refs, c.scope)
	v, _ = v.UnmarkDeep()
	if s.optional && v.IsNull() && v.IsKnown() {
		return v, true
	}
	v, err := s.kind.convert(v)
	if err != nil {
		c.wrong(s, err)
		return cty.DynamicVal, false
	}
	return v, true
}

func (c *checker) wrong(s *site, err error) {
	at := s.at()
	if !c.covers(rangeOf(at)) {
		c.errorf(at, "Wrong value", "%s %s", upperFirst(s.name), sentence(err))
	}
}

// sentence ends an error's text with a full stop, unless it has an end.
func sentence(err error) string {
	s := err.Error()
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// redacted takes details out of messages about expressions that read sensitive values: functions quote their arguments.
func (c *checker) redacted(diags hcl.Diagnostics, r *refs) hcl.Diagnostics {
	if len(diags) == 0 || !c.flow.readsSecret(r, c.scope) {
		return diags
	}
	out := make(hcl.Diagnostics, len(diags))
	for i, d := range diags {
		hidden := *d
		hidden.Detail = withheld
		out[i] = &hidden
	}
	return out
}

const withheld = "The expression reads sensitive values, so what exactly is wrong with it is not shown."

func (c *checker) param(p *param) {
	for _, v := range p.validations {
		c.value(v.condition)
		c.value(v.message)
	}
	if p.fallback == nil {
		return
	}
	v, ok := c.value(p.fallback)
	if !ok {
		return
	}
	if _, err := p.take(v, p.sensitive || p.fallback.secret); err != nil {
		c.wrong(p.fallback, err)
	}
}

// task checks a task's own expressions and returns its policy as far as it is constant.
func (c *checker) task(t *task) (workflow.Policy, []workflow.PolicyExpr) {
	t.element = cty.DynamicPseudoType
	if t.forEach != nil {
		c.forEach(t)
	}
	if t.key != nil {
		c.value(t.key)
		if t.key.secret {
			c.secretKeys(t.key)
		}
	}
	if t.when != nil {
		c.value(t.when)
	}
	if t.count != nil {
		if v, ok := c.value(t.count); ok && v.IsKnown() {
			t.size, _ = whole(v)
			t.fixed = true
		}
	}
	policy := workflow.DefaultPolicy()
	if t.kind == workflow.KindFinally {
		policy.Timeout = workflow.FinallyTimeout
	}
	var dynamic []workflow.PolicyExpr
	for _, a := range policyAttrs {
		s := t.policy[a.path]
		if s == nil {
			continue
		}
		v, ok := c.value(s)
		switch {
		case !ok:
		case v.IsWhollyKnown():
			a.set(&policy, v)
			continue
		default:
			dynamic = append(dynamic, workflow.PolicyExpr{Attr: a.path, Expr: c.flow.module.expr(workflow.ExprValue, s.expr.Range()), PerTask: workflow.PerTaskAttr(a.path)})
		}
		c.dynamic[s] = true
	}
	c.checkDelays(t, &policy)
	c.retryWhen(t)
	return policy, dynamic
}

func (c *checker) forEach(t *task) {
	v, ok := c.value(t.forEach)
	if !ok {
		return
	}
	t.element = elementType(v)
	if v.IsKnown() && v.CanIterateElements() {
		t.size = v.LengthInt()
		if t.key == nil {
			t.keys = constantKeys(v)
		}
	}
	if t.forEach.secret {
		ctx, _ := c.frame.context(t.forEach.refs, forValue)
		whole, _ := t.forEach.expr.Value(ctx)
		c.secretKeys(c.frame.secretKeys(t, whole))
	}
}

// secretKeys reports the expression that makes keys of something sensitive, once.
func (c *checker) secretKeys(s *site) {
	switch {
	case s == nil || c.covers(rangeOf(s.at())):
	case s == s.task.key:
		c.errorf(s.at(), "Sensitive key", "%s %s", upperFirst(s.name), whySecretKey)
	default:
		c.errorf(s.at(), "Sensitive keys", "%s %s", upperFirst(s.name), whySecretKeys)
	}
}

// retryWhen checks the condition of a retry, and what becomes of it for an attempt without an exit code.
func (c *checker) retryWhen(t *task) {
	s := t.retryWhen
	if s == nil {
		return
	}
	if _, ok := c.value(s); !ok || !s.refs.exit {
		return
	}
	ctx, diags := c.frame.context(s.refs, forValue)
	if diags.HasErrors() {
		return
	}
	attempt := unknownAttempt(true)
	attempt["exit_code"] = cty.NullVal(cty.Number)
	var each map[string]cty.Value
	if t.fanned() {
		each = unknownEach(t)
	}
	if _, diags = s.expr.Value(instanceContext(ctx, each, attempt)); diags.HasErrors() {
		c.warnf(s.at(), "Not every attempt has an exit code",
			"attempt.exit_code is null when a process was killed or never ran; %s cannot be evaluated then, so there is no retry. Use attempt.reason, or try(…, true).", s.name)
	}
}

// body checks the body of a task.
func (c *checker) body(t *task) {
	vars, known := cty.EmptyObjectVal, true
	for _, p := range t.bodyParts() {
		if v, ok := c.value(p); p == t.parts["vars"] {
			vars, known = v, ok
		}
	}
	if t.call != nil {
		c.call(t)
	}
	if !t.kindOfBody.Cluster() {
		return
	}
	s := c.flow.linkBody(t, c.findings)
	ctx, diags := c.frame.context(s.refs, forBody)
	if diags.HasErrors() {
		return
	}
	ctx = c.inTask(s, ctx)
	for _, body := range []*jobspec.Body{t.nomad, t.placed} {
		if body == nil {
			continue
		}
		for _, expr := range body.Expressions() {
			c.splats(expr)
		}
		c.addNew(c.redacted(body.Check(ctx), s.refs))
		for _, expr := range body.Expressions() {
			c.probe(expr, ctx)
		}
	}
	if t.job != nil && known {
		c.job(t, vars)
	}
	c.flow.destinations = append(c.flow.destinations, t.destination(ctx))
}

// clear says once that sensitive values leave Cairn in clear.
func (c *checker) clear() {
	for _, t := range c.flow.tasks {
		secret := t.bodySite != nil && c.flow.readsSecret(t.bodySite.refs, nil)
		for _, s := range t.bodyParts() {
			secret = secret || s.secret
		}
		if secret && t.kindOfBody.Cluster() {
			c.warnf(t.block.LabelRanges[0], "Sensitive, and in clear",
				"The body of task %s reads sensitive values. Cairn never shows them, but the Nomad job and Consul hold them in clear. Secrets belong into a template block that reads Vault or a Nomad variable.", t.name)
			return
		}
	}
}

// output checks the default of a task's output and returns it.
func (c *checker) output(o *output) *workflow.Value {
	if o.fallback == nil {
		return nil
	}
	v, ok := c.value(o.fallback)
	if !ok {
		return nil
	}
	if o.defaults != nil && !v.IsNull() {
		v = o.defaults.Apply(v)
	}
	v, err := convert.Convert(v, o.ty)
	if err != nil {
		c.wrong(o.fallback, unfit(o.ty, err, o.sensitive || o.fallback.secret))
		return nil
	}
	if !v.IsWhollyKnown() {
		if c.covers(rangeOf(o.fallback.at())) {
			return nil
		}
		c.errorf(o.fallback.at(), "Not a constant", "%s must be a constant.", upperFirst(o.fallback.name))
		return nil
	}
	out, err := fromCty(v)
	if err != nil {
		c.errorf(o.fallback.at(), "Wrong value", "%s %s.", upperFirst(o.fallback.name), err)
		return nil
	}
	out.Sensitive = out.Sensitive || o.sensitive
	return &out
}

// runOutput checks an output of the run.
func (c *checker) runOutput(o *runOutput) {
	if o.value == nil {
		return
	}
	if _, ok := c.value(o.value); ok && o.value.secret && !o.sensitive {
		c.errorf(o.value.at(), "Sensitive output", "output %s carries a sensitive value. Write sensitive = true beside it, or nonsensitive(…) around what may be shown.", o.name)
	}
}
