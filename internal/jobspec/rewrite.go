// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// runtimeRoots are the names that Nomad interpolates on the machine where a task runs.
var runtimeRoots = []string{"attr", "device", "env", "meta", "node", "secret"}

// RuntimeRoots lists the names that begin a run-time reference, for suggestions. Besides them there is NOMAD_*.
func RuntimeRoots() []string { return slices.Clone(runtimeRoots) }

// IsRuntimeRoot reports whether a traversal with this root is Nomad's to resolve, on the machine where the task runs.
func IsRuntimeRoot(name string) bool {
	return slices.Contains(runtimeRoots, name) || strings.HasPrefix(name, "NOMAD_")
}

// RefersToRuntime reports whether expr contains a run-time reference.
func RefersToRuntime(expr hcl.Expression) bool {
	for _, t := range expr.Variables() {
		if IsRuntimeRoot(t.RootName()) {
			return true
		}
	}
	return false
}

// RewriteExpr returns expr with its run-time references replaced by their own text and the templates the author wrote marked
// as such. Expressions whose value can end in a task's body (locals, the body itself) must be rewritten before they
// are evaluated. expr itself is not changed. Computing with a run-time reference is an error.
func RewriteExpr(expr hclsyntax.Expression, opts Options) (hclsyntax.Expression, hcl.Diagnostics) {
	r := newRewriter(&opts, nil)
	out := r.expr(expr, r.top, true)
	return out, r.diags
}

// rewriter replaces run-time references in a syntax tree. It copies what it changes and shares the rest.
type rewriter struct {
	sources map[string][]byte
	// tainted says of a variable that its value carries run-time text, so that it may be moved but not computed with.
	tainted func(hcl.Traversal) bool
	// declared are names of the body's own env, which Nomad takes as references too.
	declared map[string]bool
	known    map[string]bool
	// verbatim is the mode of whole job files: every unknown root is Nomad's, nothing is marked, nothing refused.
	verbatim bool
	// inConfig: a client parses the text around here as HCL.
	inConfig bool
	// left and right are the delimiters of actions in the text around here; inData: it is the data of a template block.
	left, right string
	inData      bool
	inKey       bool // around here the text is a key of an object, by which it is found again
	top         *scope
	diags       hcl.Diagnostics
}

// scope holds the names bound by a for expression or a dynamic block; the value says whether it carries run-time text.
type scope struct {
	parent *scope
	names  map[string]bool
}

func (s *scope) lookup(name string) (tainted, bound bool) {
	for ; s != nil; s = s.parent {
		if t, ok := s.names[name]; ok {
			return t, true
		}
	}
	return false, false
}

func (s *scope) bind(tainted bool, names ...string) *scope {
	inner := &scope{parent: s, names: make(map[string]bool, len(names))}
	for _, n := range names {
		if n != "" {
			inner.names[n] = tainted
		}
	}
	return inner
}

func newRewriter(opts *Options, declared map[string]bool) *rewriter {
	return &rewriter{
		sources: opts.Sources, tainted: opts.Tainted, known: opts.Known, declared: declared,
		left: defaultLeft, right: defaultRight,
	}
}

// expr rewrites one expression. moving says that the value is only handed on, not looked at.
func (r *rewriter) expr(e hclsyntax.Expression, sc *scope, moving bool) hclsyntax.Expression {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return r.literal(e, moving)
	case *hclsyntax.ScopeTraversalExpr:
		return r.traversal(e, sc, moving)
	case *hclsyntax.TemplateExpr:
		r.pieces(e)
		inData := r.inData
		r.inData = false // a value inside an action may hold what it likes
		parts, changed := r.exprs(e.Parts, sc, moving)
		if r.inData = inData; !changed {
			parts = e.Parts
		}
		if moving && !r.verbatim && !r.inKey {
			if marked := r.actions(parts); marked != nil {
				parts, changed = marked, true
			}
		}
		if changed {
			return &hclsyntax.TemplateExpr{Parts: parts, SrcRange: e.SrcRange}
		}
	case *hclsyntax.TemplateWrapExpr:
		if w := r.expr(e.Wrapped, sc, moving); w != e.Wrapped {
			return &hclsyntax.TemplateWrapExpr{Wrapped: w, SrcRange: e.SrcRange}
		}
	case *hclsyntax.TemplateJoinExpr:
		if t := r.expr(e.Tuple, sc, moving); t != e.Tuple {
			return &hclsyntax.TemplateJoinExpr{Tuple: t}
		}
	case *hclsyntax.ParenthesesExpr:
		if in := r.expr(e.Expression, sc, moving); in != e.Expression {
			return &hclsyntax.ParenthesesExpr{Expression: in, SrcRange: e.SrcRange}
		}
	case *hclsyntax.TupleConsExpr:
		if exprs, changed := r.exprs(e.Exprs, sc, moving); changed {
			return &hclsyntax.TupleConsExpr{Exprs: exprs, SrcRange: e.SrcRange, OpenRange: e.OpenRange}
		}
	case *hclsyntax.ObjectConsExpr:
		return r.object(e, sc, moving)
	case *hclsyntax.FunctionCallExpr:
		values := e.Args
		if e.Name == convertName && len(e.Args) == 2 {
			values = e.Args[:1] // the other one is a type
		}
		if args, changed := r.exprs(values, sc, r.verbatim || moving && textMovers[e.Name]); changed {
			call := *e
			call.Args = append(args, e.Args[len(values):]...)
			return &call
		}
	case *hclsyntax.ConditionalExpr:
		c, t, f := r.expr(e.Condition, sc, false), r.expr(e.TrueResult, sc, moving), r.expr(e.FalseResult, sc, moving)
		if c != e.Condition || t != e.TrueResult || f != e.FalseResult {
			return &hclsyntax.ConditionalExpr{Condition: c, TrueResult: t, FalseResult: f, SrcRange: e.SrcRange}
		}
	case *hclsyntax.BinaryOpExpr:
		l, rhs := r.compared(e.LHS, sc), r.compared(e.RHS, sc)
		if l != e.LHS || rhs != e.RHS {
			return &hclsyntax.BinaryOpExpr{LHS: l, Op: e.Op, RHS: rhs, SrcRange: e.SrcRange}
		}
	case *hclsyntax.UnaryOpExpr:
		if v := r.expr(e.Val, sc, false); v != e.Val {
			return &hclsyntax.UnaryOpExpr{Op: e.Op, Val: v, SrcRange: e.SrcRange, SymbolRange: e.SymbolRange}
		}
	case *hclsyntax.IndexExpr:
		c, k := r.expr(e.Collection, sc, moving && !isTraversal(e.Collection)), r.expr(e.Key, sc, false)
		if c != e.Collection || k != e.Key {
			return &hclsyntax.IndexExpr{Collection: c, Key: k, SrcRange: e.SrcRange, OpenRange: e.OpenRange, BracketRange: e.BracketRange}
		}
	case *hclsyntax.RelativeTraversalExpr:
		if s := r.expr(e.Source, sc, moving); s != e.Source {
			return &hclsyntax.RelativeTraversalExpr{Source: s, Traversal: e.Traversal, SrcRange: e.SrcRange}
		}
	case *hclsyntax.SplatExpr:
		if s := r.expr(e.Source, sc, moving && !isTraversal(e.Source)); s != e.Source {
			splat := *e
			splat.Source = s
			return &splat
		}
	case *hclsyntax.ForExpr:
		return r.forExpr(e, sc, moving)
	}
	return e
}

// compared rewrites an operand, which must be what the author sees: no marks in it.
func (r *rewriter) compared(e hclsyntax.Expression, sc *scope) hclsyntax.Expression {
	out := r.expr(e, sc, false)
	if r.verbatim || len(Variables(out)) == 0 {
		return out // no mark gets into it: only what is moved is marked
	}
	return plainExpr{asChild(out)}
}

// asChild makes e an inner node: who walks a tree does not look at the type of an expression of ours, but goes on to its children,
// and e might have none.
func asChild(e hclsyntax.Expression) hclsyntax.Expression {
	return &hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}
}

// plainExpr is an expression whose value is looked at.
type plainExpr struct{ hclsyntax.Expression }

// Value takes all marks out of the value.
func (e plainExpr) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := e.Expression.Value(ctx)
	return Plain(v), diags
}

// isTraversal tells node[x] and device[*], which look into a run-time reference, from ["${node.x}"][0], which does not.
// A variable that merely carries run-time text may be indexed.
func isTraversal(e hclsyntax.Expression) bool {
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	return ok && IsRuntimeRoot(t.Traversal.RootName())
}

func (r *rewriter) exprs(in []hclsyntax.Expression, sc *scope, moving bool) ([]hclsyntax.Expression, bool) {
	var out []hclsyntax.Expression
	for i, e := range in {
		n := r.expr(e, sc, moving)
		if n != e && out == nil {
			out = slices.Clone(in)
		}
		if out != nil {
			out[i] = n
		}
	}
	return out, out != nil
}

// literal marks the templates in the author's own text.
func (r *rewriter) literal(e *hclsyntax.LiteralValueExpr, moving bool) hclsyntax.Expression {
	if r.verbatim || e.Val.Type() != cty.String || e.Val.IsNull() || !e.Val.IsKnown() {
		return e
	}
	s := e.Val.AsString()
	if hasMark(s) && strings.ContainsAny(s, allMarks) {
		r.errorf(e.SrcRange, "Invalid character", "This text contains one of the noncharacters U+FDD0 to U+FDD7, which are not for use in text.")
		return e
	}
	if marked := authored(s); moving && marked != s {
		return &hclsyntax.LiteralValueExpr{Val: cty.StringVal(marked), SrcRange: e.SrcRange}
	}
	return e
}

// pieces refuses "$${f(${param.x})}" in a driver's config: there the client evaluates what stands between the braces, so data
// between them would be code.
func (r *rewriter) pieces(e *hclsyntax.TemplateExpr) {
	if !r.inConfig || r.verbatim {
		return
	}
	for _, part := range e.Parts[:len(e.Parts)-1] {
		lit, ok := part.(*hclsyntax.LiteralValueExpr)
		if ok && lit.Val.Type() == cty.String && openTemplate(lit.Val.AsString()) {
			r.errorf(lit.SrcRange, "Template made of pieces",
				"This text opens a template for Nomad, and the next value would become part of its code. Close the brace in the same text, "+
					"or hand the value to the task in its env.")
		}
	}
}

// openTemplate reports whether s ends inside of a template.
func openTemplate(s string) bool {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case depth > 0 && s[i] == '{':
			depth++
		case depth > 0 && s[i] == '}':
			depth--
		case depth == 0 && s[i] == '{' && i > 0 && (s[i-1] == '$' || s[i-1] == '%') && (i < 2 || s[i-2] != s[i-1]):
			depth = 1
		}
	}
	return depth > 0
}

func (r *rewriter) object(e *hclsyntax.ObjectConsExpr, sc *scope, moving bool) hclsyntax.Expression {
	var items []hclsyntax.ObjectConsItem
	for i, item := range e.Items {
		k, v := r.objectKey(item.KeyExpr, sc, moving), r.expr(item.ValueExpr, sc, moving)
		if (k != item.KeyExpr || v != item.ValueExpr) && items == nil {
			items = slices.Clone(e.Items)
		}
		if items != nil {
			items[i] = hclsyntax.ObjectConsItem{KeyExpr: k, ValueExpr: v}
		}
	}
	if items == nil {
		return e
	}
	return &hclsyntax.ObjectConsExpr{Items: items, SrcRange: e.SrcRange, OpenRange: e.OpenRange}
}

// objectKey leaves bare words alone: in { node = 1 } the key is a name, not a reference.
func (r *rewriter) objectKey(e hclsyntax.Expression, sc *scope, moving bool) hclsyntax.Expression {
	key, ok := e.(*hclsyntax.ObjectConsKeyExpr)
	if !ok {
		return r.expr(e, sc, moving)
	}
	if !key.ForceNonLiteral && hcl.ExprAsKeyword(key.Wrapped) != "" {
		return e
	}
	outer := r.inKey
	r.inKey = true
	w := r.expr(key.Wrapped, sc, moving)
	r.inKey = outer
	if w != key.Wrapped {
		return &hclsyntax.ObjectConsKeyExpr{Wrapped: w, ForceNonLiteral: key.ForceNonLiteral}
	}
	return e
}

func (r *rewriter) forExpr(e *hclsyntax.ForExpr, sc *scope, moving bool) hclsyntax.Expression {
	out := *e
	out.CollExpr = r.expr(e.CollExpr, sc, moving)
	inner := sc.bind(r.carries(e.CollExpr, sc), e.KeyVar, e.ValVar)
	if e.KeyExpr != nil {
		out.KeyExpr = r.expr(e.KeyExpr, inner, moving)
	}
	out.ValExpr = r.expr(e.ValExpr, inner, moving)
	if e.CondExpr != nil {
		out.CondExpr = r.expr(e.CondExpr, inner, false)
	}
	if out.CollExpr == e.CollExpr && out.KeyExpr == e.KeyExpr && out.ValExpr == e.ValExpr && out.CondExpr == e.CondExpr {
		return e
	}
	return &out
}

// carries reports whether the value of an expression that was not yet rewritten contains run-time text.
func (r *rewriter) carries(e hclsyntax.Expression, sc *scope) bool {
	for _, t := range Variables(e) {
		tainted, bound := sc.lookup(t.RootName())
		switch {
		case bound:
			if tainted {
				return true
			}
		case r.isReference(t), r.tainted != nil && r.tainted(t):
			return true
		}
	}
	return false
}

// isReference reports whether t is a run-time reference, given that its root is not bound by the expression itself.
func (r *rewriter) isReference(t hcl.Traversal) bool {
	root := t.RootName()
	if r.verbatim {
		return !r.known[root]
	}
	return IsRuntimeRoot(root) && !r.known[root] || len(t) == 1 && r.declared[root] && !r.known[root]
}

func (r *rewriter) traversal(e *hclsyntax.ScopeTraversalExpr, sc *scope, moving bool) hclsyntax.Expression {
	tainted, bound := sc.lookup(e.Traversal.RootName())
	reference := !bound && r.isReference(e.Traversal)
	if !reference && !bound && r.tainted != nil {
		tainted = r.tainted(e.Traversal)
	}
	if (reference || tainted) && !moving && !r.verbatim {
		text := traversalText(e.Traversal)
		r.errorf(e.SrcRange, "Computing with a run-time reference",
			"%s is known only on the machine where the task runs: it can be part of a text, but not be compared, indexed or given to a "+
				"function that looks at it. Compute inside the task instead, or write $${%s} to hand the text itself to Nomad.", text, text)
		return e
	}
	if !reference {
		return e
	}
	text := r.reference(e)
	if !r.verbatim {
		text = authored(text)
	}
	return &hclsyntax.LiteralValueExpr{Val: cty.StringVal(text), SrcRange: e.SrcRange}
}

// reference is the text of a run-time reference as Nomad's own parser keeps it: the source between the braces, the spaces
// of an interpolation that holds nothing else included.
func (r *rewriter) reference(e *hclsyntax.ScopeTraversalExpr) string {
	src := r.sources[e.SrcRange.Filename]
	start, end := e.SrcRange.Start.Byte, e.SrcRange.End.Byte
	if start < 0 || end > len(src) || start >= end {
		return "${" + traversalText(e.Traversal) + "}"
	}
	before := start
	for before > 0 && src[before-1] == ' ' {
		before--
	}
	if before < 2 || src[before-1] != '{' || src[before-2] != '$' {
		return "${" + string(src[start:end]) + "}"
	}
	after := end
	for after < len(src) && src[after] == ' ' {
		after++
	}
	if after == len(src) || src[after] != '}' {
		after = end
	}
	return "${" + string(src[before:after]) + "}"
}

// body rewrites a body and everything in it. hide names what is left out, at this level only.
func (r *rewriter) body(b *hclsyntax.Body, sc *scope, hide map[string]bool) *hclsyntax.Body {
	out := &hclsyntax.Body{
		Attributes: make(hclsyntax.Attributes, len(b.Attributes)),
		Blocks:     make(hclsyntax.Blocks, 0, len(b.Blocks)),
		SrcRange:   b.SrcRange,
		EndRange:   b.EndRange,
	}
	for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
		attr := b.Attributes[name]
		if hide[name] {
			continue
		}
		if e := r.expr(attr.Expr, sc, true); e != attr.Expr {
			changed := *attr
			changed.Expr = e
			attr = &changed
		}
		out.Attributes[name] = attr
	}
	for _, block := range b.Blocks {
		if hide[block.Type] || block.Type == dynamicName && len(block.Labels) == 1 && hide[block.Labels[0]] {
			continue
		}
		changed := *block
		if block.Type == dynamicName && len(block.Labels) == 1 {
			changed.Body = r.dynamic(block, sc)
		} else {
			changed.Body = r.inside(block.Type, block.Body, sc)
		}
		out.Blocks = append(out.Blocks, &changed)
	}
	return out
}

// inside rewrites what stands between the braces of a block called name.
func (r *rewriter) inside(name string, b *hclsyntax.Body, sc *scope) *hclsyntax.Body {
	inConfig, declared := r.inConfig, r.declared
	defer func() { r.inConfig, r.declared = inConfig, declared }()
	switch {
	case r.inConfig: // a driver's own words, whatever they are
	case name == "config":
		r.inConfig = true
	case name == "task": // each task of a group has an env of its own
		r.declared = map[string]bool{}
		declaredEnv(b, r.declared)
	case name == "template" && !r.verbatim:
		return r.template(b, sc)
	}
	return r.body(b, sc, nil)
}

// dynamic rewrites a dynamic block, whose iterator is a name in its content and labels.
func (r *rewriter) dynamic(b *hclsyntax.Block, sc *scope) *hclsyntax.Body {
	tainted := false
	if forEach := b.Body.Attributes["for_each"]; forEach != nil {
		tainted = r.carries(forEach.Expr, sc)
	}
	inner := sc.bind(tainted, iteratorName(b))
	out := r.body(b.Body, inner, map[string]bool{"for_each": true, "iterator": true, "content": true})
	for _, block := range b.Body.Blocks {
		if block.Type == "content" {
			content := *block
			content.Body = r.inside(b.Labels[0], block.Body, inner)
			out.Blocks = append(out.Blocks, &content)
		}
	}
	for _, name := range []string{"for_each", "iterator"} {
		attr := b.Body.Attributes[name]
		if attr == nil {
			continue
		}
		if name == "for_each" {
			changed := *attr
			changed.Expr = r.expr(attr.Expr, sc, true)
			attr = &changed
		}
		out.Attributes[name] = attr
	}
	return out
}

func (r *rewriter) errorf(at hcl.Range, summary, format string, args ...any) {
	r.diags = append(r.diags, errorAt(at, summary, format, args...)...)
}

// declaredEnv are the names that the env of a body declares where they can be read without evaluating anything.
func declaredEnv(b *hclsyntax.Body, names map[string]bool) {
	if attr := b.Attributes["env"]; attr != nil {
		declaredKeys(attr.Expr, names)
	}
	for _, block := range b.Blocks {
		if block.Type == "env" {
			for name := range block.Body.Attributes {
				names[name] = true
			}
		}
	}
}

// declaredKeys are the literal keys of an object, or of several that are merged.
func declaredKeys(e hclsyntax.Expression, names map[string]bool) {
	switch e := e.(type) {
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "merge" {
			for _, arg := range e.Args {
				declaredKeys(arg, names)
			}
		}
	case *hclsyntax.ObjectConsExpr:
		for _, item := range e.Items {
			k, diags := item.KeyExpr.Value(nil)
			if !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() {
				names[k.AsString()] = true
			}
		}
	}
}

// traversalText writes a traversal the way an author would.
func traversalText(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(step.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + step.Name)
		case hcl.TraverseIndex:
			switch {
			case step.Key.Type() == cty.String:
				b.WriteString(`["` + step.Key.AsString() + `"]`)
			case step.Key.Type() == cty.Number:
				b.WriteString("[" + step.Key.AsBigFloat().Text('f', -1) + "]")
			}
		case hcl.TraverseSplat:
			b.WriteString("[*]")
		}
	}
	return b.String()
}
