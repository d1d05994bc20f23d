// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// detailOf is the text of a diagnostic of the HCL library, with what it leaves out though it is known: which function was
// called, and the name that was probably meant.
func detailOf(d *hcl.Diagnostic) string {
	text := d.Detail
	if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.CalledFunctionName() != "" {
		text = strings.Replace(text, `" parameter:`, fmt.Sprintf(`" parameter of %s:`, call.CalledFunctionName()), 1)
	}
	if d.Summary == "Call to unknown function" && !strings.Contains(text, "Did you mean") {
		return text + functionMeant(d)
	}
	if d.Summary != "Unsupported attribute" && d.Summary != "Invalid index" || d.Expression == nil || d.EvalContext == nil {
		return text
	}
	at, missing := missingStep(d.Expression, d.EvalContext)
	switch {
	case missing == "":
	case at.Type().IsObjectType():
		names := sortedKeys(at.Type().AttributeTypes())
		switch hint := didYouMean(missing, names); {
		case hint != "":
			text += hint
		case len(names) > 0 && len(names) <= 10:
			text += fmt.Sprintf(" It has %s.", strings.Join(names, ", "))
		}
	case at.Type().IsPrimitiveType():
		text = fmt.Sprintf("It is %s, which has no %s: leave .%s out.", friendlyType(at), missing, missing)
	case strings.Contains(text, "Did you mean") && at.Type().IsListType():
		text = fmt.Sprintf("It is %s: write [0].%s for that of the first element, or [*].%s for those of all.", friendlyType(at), missing, missing)
	case strings.Contains(text, "Did you mean"):
	case at.Type().IsListType() || at.Type().IsTupleType():
		text += fmt.Sprintf(" It is %s: pick an element by its position, such as [0], or walk it with a for expression.", friendlyType(at))
	}
	return text
}

// functionMeant finds the function of whose name too much or too little was written.
func functionMeant(d *hcl.Diagnostic) string {
	call, ok := d.Expression.(*hclsyntax.FunctionCallExpr)
	if !ok {
		return ""
	}
	meant := ""
	for ctx := d.EvalContext; ctx != nil; ctx = ctx.Parent() {
		for name := range ctx.Functions {
			longer := strings.HasPrefix(call.Name, name) || strings.HasPrefix(name, call.Name)
			if longer && len(name) >= 3 && len(call.Name) >= 3 && (len(name) > len(meant) || len(name) == len(meant) && name < meant) {
				meant = name
			}
		}
	}
	if meant != "" {
		return fmt.Sprintf(" Did you mean %q?", meant)
	}
	return " The language reference lists those that there are under Functions."
}

// missingStep follows a reference to the step that fails, and gives the value there and the name that it does not have.
func missingStep(expr hcl.Expression, ctx *hcl.EvalContext) (at cty.Value, missing string) {
	var steps hcl.Traversal
	switch expr := expr.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		for c := ctx; c != nil && at == cty.NilVal; c = c.Parent() {
			at = c.Variables[expr.Traversal.RootName()]
		}
		steps = expr.Traversal[1:]
	case *hclsyntax.RelativeTraversalExpr:
		v, diags := expr.Source.Value(ctx)
		if diags.HasErrors() {
			return at, ""
		}
		at, steps = v, expr.Traversal
	}
	for i, step := range steps {
		if at == cty.NilVal {
			return at, ""
		}
		next, diags := hcl.Traversal{step}.TraverseRel(at)
		if !diags.HasErrors() {
			at = next
			continue
		}
		missing, _ = stepName(steps, i)
		return at, missing
	}
	return at, ""
}
