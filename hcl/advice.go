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
	if d.Summary == "Unsupported attribute" && d.Expression != nil && d.EvalContext != nil {
		if names, missing := attributesAt(d.Expression, d.EvalContext); missing != "" {
			switch hint := didYouMean(missing, names); {
			case hint != "":
				text += hint
			case len(names) > 0 && len(names) <= 10:
				text += fmt.Sprintf(" It has %s.", strings.Join(names, ", "))
			}
		}
	}
	return text
}

// attributesAt follows a reference to the step that fails, and gives the name that is missing there and those that are not.
func attributesAt(expr hcl.Expression, ctx *hcl.EvalContext) (names []string, missing string) {
	var at cty.Value
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
			return nil, ""
		}
		at, steps = v, expr.Traversal
	}
	for _, step := range steps {
		if at == cty.NilVal {
			return nil, ""
		}
		next, diags := hcl.Traversal{step}.TraverseRel(at)
		if !diags.HasErrors() {
			at = next
			continue
		}
		attr, ok := step.(hcl.TraverseAttr)
		if ty := at.Type(); ok && ty.IsObjectType() {
			return sortedKeys(ty.AttributeTypes()), attr.Name
		}
		return nil, ""
	}
	return nil, ""
}
