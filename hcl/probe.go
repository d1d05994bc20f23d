// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// probe looks where HCL itself does not look while values are unknown: into for expressions, and at what stands in text.
func (c *checker) probe(expr hclsyntax.Expression, ctx *hcl.EvalContext) {
	hclsyntax.Walk(expr, &prober{checker: c, contexts: []*hcl.EvalContext{ctx}}) //nolint:errcheck // it returns what Enter and Exit return: nothing
}

type prober struct {
	checker  *checker
	contexts []*hcl.EvalContext // innermost last
	loops    []*hclsyntax.ForExpr
	guarded  int // how many try and can stand around: what fails in them is meant to
}

func (p *prober) Enter(n hclsyntax.Node) hcl.Diagnostics {
	outer := p.contexts[len(p.contexts)-1]
	if guards(n) {
		p.guarded++
	}
	if p.guarded == 0 {
		p.judge(n, outer)
	}
	loop, ok := n.(*hclsyntax.ForExpr)
	if !ok {
		return nil
	}
	inner := outer.NewChild()
	coll, diags := loop.CollExpr.Value(outer)
	k, v, judged := cty.DynamicVal, cty.DynamicVal, false
	if !diags.HasErrors() {
		coll, _ = coll.UnmarkDeep()
		k, v, judged = iterated(coll)
	}
	inner.Variables = map[string]cty.Value{loop.ValVar: v}
	if loop.KeyVar != "" {
		inner.Variables[loop.KeyVar] = k
	}
	if judged && p.guarded == 0 {
		for _, e := range []hclsyntax.Expression{loop.KeyExpr, loop.ValExpr, loop.CondExpr} {
			if e != nil {
				_, diags := e.Value(inner)
				p.checker.addNew(diags)
			}
		}
	}
	p.contexts, p.loops = append(p.contexts, inner), append(p.loops, loop)
	return nil
}

// splats checks [*] behind a task with instances, before HCL does: it takes a map for a single element, and names nobody.
func (c *checker) splats(expr hclsyntax.Expression) {
	if !slices.ContainsFunc(c.flow.tasks, (*task).fanned) {
		return
	}
	hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // the visitor returns none
		splat, ok := n.(*hclsyntax.SplatExpr)
		if !ok {
			return nil
		}
		source, ok := splat.Source.(*hclsyntax.ScopeTraversalExpr)
		if !ok || source.Traversal.RootName() != "task" || len(source.Traversal) != 2 {
			return nil
		}
		name, _ := stepName(source.Traversal, 1)
		target := c.flow.taskByName[name]
		switch {
		case target == nil || c.covers(rangeOf(splat.SrcRange)):
		case target.forEach != nil:
			c.errorf(splat.SrcRange, "A task with instances", "task.%s is a map, and [*] walks lists: write values(task.%s)[*].", name, name)
		case target.count != nil:
			if each, ok := splat.Each.(*hclsyntax.RelativeTraversalExpr); ok {
				instance := slices.Concat(source.Traversal, hcl.Traversal{hcl.TraverseIndex{Key: cty.Zero, SrcRange: splat.MarkerRange}}, each.Traversal)
				r := &resolver{findings: c.findings, flow: c.flow}
				r.taskSteps(target, instance, &refs{})
			}
		}
		return nil
	})
}

// judge looks at one node.
func (p *prober) judge(n hclsyntax.Node, ctx *hcl.EvalContext) {
	switch n := n.(type) {
	case *hclsyntax.TemplateExpr:
		p.template(n, ctx)
	case *hclsyntax.ConditionalExpr:
		p.condition(n, ctx)
	case *hclsyntax.BinaryOpExpr:
		if n.Op == hclsyntax.OpEqual || n.Op == hclsyntax.OpNotEqual {
			p.comparison(n, ctx)
		}
	case *hclsyntax.ScopeTraversalExpr:
		if n.Traversal.RootName() == "task" && len(n.Traversal) > 2 {
			p.checker.picked = append(p.checker.picked, n.Traversal)
		}
	}
}

// condition reports what can never be true or false; HCL looks at it only when its value is known.
func (p *prober) condition(n *hclsyntax.ConditionalExpr, ctx *hcl.EvalContext) {
	v, diags := n.Condition.Value(ctx)
	if diags.HasErrors() {
		return
	}
	v, _ = v.Unmark()
	ty := v.Type()
	if !v.IsKnown() && ty != cty.DynamicPseudoType && ty != cty.Bool && convert.GetConversionUnsafe(ty, cty.Bool) == nil && !p.checker.covers(rangeOf(n.Condition.Range())) {
		p.checker.errorf(n.Condition.Range(), "Incorrect condition type", "The condition before ? must be true or false, not %s. Compare it with something.", friendlyType(v))
	}
}

// comparison warns of values that can never be equal, because one is text and the other is not.
func (p *prober) comparison(n *hclsyntax.BinaryOpExpr, ctx *hcl.EvalContext) {
	left, diags := n.LHS.Value(ctx)
	right, more := n.RHS.Value(ctx)
	if diags.HasErrors() || more.HasErrors() {
		return
	}
	left, _ = left.Unmark()
	right, _ = right.Unmark()
	if p.status(n.LHS, right, n) || p.status(n.RHS, left, n) {
		return
	}
	a, b := left.Type(), right.Type()
	if a.IsPrimitiveType() && b.IsPrimitiveType() && !a.Equals(b) && !left.IsNull() && !right.IsNull() {
		p.checker.warnf(n.SrcRange, "Never equal", "%s is compared with %s, and values of different types are never equal. Convert one of them, as in tostring(…) or tonumber(…).",
			upperFirst(friendlyType(left)), friendlyType(right))
	}
}

// status warns of a status compared with a word that is none.
func (p *prober) status(expr hclsyntax.Expression, other cty.Value, n *hclsyntax.BinaryOpExpr) bool {
	ref, ok := expr.(*hclsyntax.ScopeTraversalExpr)
	if !ok || len(ref.Traversal) < 2 || other.Type() != cty.String || !other.IsKnown() || other.IsNull() {
		return false
	}
	last, ok := ref.Traversal[len(ref.Traversal)-1].(hcl.TraverseAttr)
	if !ok || last.Name != "status" {
		return false
	}
	var words []string
	switch ref.Traversal.RootName() {
	case "run":
		words = []string{string(workflow.RunSucceeded), string(workflow.RunFailed), string(workflow.RunCancelled)}
	case "task", statusRoot:
		for _, s := range []workflow.Status{workflow.Pending, workflow.Queued, workflow.Waiting, workflow.Starting, workflow.Running,
			workflow.Succeeded, workflow.Failed, workflow.Skipped, workflow.Omitted, workflow.Cancelled} {
			words = append(words, string(s))
		}
	}
	if len(words) == 0 || slices.Contains(words, other.AsString()) {
		return false
	}
	p.checker.warnf(n.SrcRange, "Never equal", "%s is never %q: it is %s.%s", traversalText(ref.Traversal), shorten(other.AsString()), either(words...), didYouMean(other.AsString(), words))
	return true
}

// template reports parts of a text that cannot become text.
func (p *prober) template(text *hclsyntax.TemplateExpr, ctx *hcl.EvalContext) {
	for _, part := range text.Parts {
		if _, literal := part.(*hclsyntax.LiteralValueExpr); literal {
			continue
		}
		v, diags := part.Value(ctx)
		if diags.HasErrors() {
			continue // the text itself reports it
		}
		v, _ = v.Unmark()
		if ty := v.Type(); !v.IsKnown() && !ty.IsPrimitiveType() && ty != cty.DynamicPseudoType && !p.checker.covers(rangeOf(part.Range())) {
			p.checker.errorf(part.Range(), "Not text", "%s cannot become part of a text. Write jsonencode(…) around it, or join(\",\", …) around a list.", upperFirst(friendlyType(v)))
		}
	}
}

func (p *prober) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if guards(n) {
		p.guarded--
	}
	if len(p.loops) > 0 && n == hclsyntax.Node(p.loops[len(p.loops)-1]) {
		p.contexts, p.loops = p.contexts[:len(p.contexts)-1], p.loops[:len(p.loops)-1]
	}
	return nil
}

func guards(n hclsyntax.Node) bool {
	call, ok := n.(*hclsyntax.FunctionCallExpr)
	return ok && (call.Name == "try" || call.Name == "can")
}

// iterated are the loop variables over an unknown collection; not judged says that HCL evaluates the loop itself, or that
// nothing is known of its elements.
func iterated(coll cty.Value) (k, v cty.Value, judged bool) {
	ty := coll.Type()
	switch {
	case coll.IsKnown() || !ty.IsCollectionType():
		return cty.DynamicVal, cty.DynamicVal, false
	case ty.IsMapType():
		k = someText()
	case ty.IsListType():
		k = cty.UnknownVal(cty.Number).RefineNotNull()
	default:
		k = cty.UnknownVal(ty.ElementType())
	}
	return k, cty.UnknownVal(ty.ElementType()), true
}

// constantKeys are the keys of a known map or set; nil when one of them is not known.
func constantKeys(v cty.Value) []string {
	keys := []string{}
	for it := v.ElementIterator(); it.Next(); {
		k, _ := it.Element()
		if k, _ = k.Unmark(); !k.IsKnown() || k.IsNull() || k.Type() != cty.String {
			return nil
		}
		keys = append(keys, k.AsString())
	}
	return keys
}

// picks checks references to single instances against keys and numbers that are constant.
func (c *checker) picks() {
	for _, t := range c.picked {
		name, _ := stepName(t, 1)
		target := c.flow.taskByName[name]
		step, ok := t[2].(hcl.TraverseIndex)
		if target == nil || !ok || !step.Key.IsKnown() || step.Key.IsNull() || c.covers(rangeOf(t.SourceRange())) {
			continue
		}
		switch {
		case target.keys != nil && step.Key.Type() == cty.String && !slices.Contains(target.keys, step.Key.AsString()):
			const shown = 10
			hint := c.near(step.Key.AsString(), target.keys)
			if hint == "" && len(target.keys) > 0 && len(target.keys) <= shown {
				hint = " Its keys are " + strings.Join(target.keys, ", ") + "."
			}
			c.errorf(t.SourceRange(), "Unknown instance", "task %s has no instance %q.%s", name, shorten(step.Key.AsString()), hint)
		case target.count != nil && target.fixed && step.Key.Type() == cty.Number:
			if i, exact := whole(step.Key); !exact || i < 0 || i >= target.size {
				c.errorf(t.SourceRange(), "Unknown instance", "task %s has count = %d: its instances are numbered from 0 to %d.", name, target.size, target.size-1)
			}
		}
	}
}
