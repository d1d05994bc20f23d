// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
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
	if text, ok := n.(*hclsyntax.TemplateExpr); ok {
		p.template(text, outer)
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

// template reports parts of a text that cannot become text.
func (p *prober) template(text *hclsyntax.TemplateExpr, ctx *hcl.EvalContext) {
	if p.guarded > 0 {
		return
	}
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
