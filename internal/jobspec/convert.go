// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// convertName is the function whose second argument is a type: convert(x, list(string)). What reads like a reference there
// is none.
const convertName = "convert"

// typeWords are the words of a type that read like references.
var typeWords = map[string]bool{"any": true, "bool": true, "number": true, "string": true}

// Variables are the references of an expression, as its own method says, but for the words of types.
func Variables(expr hclsyntax.Expression) []hcl.Traversal {
	all := expr.Variables()
	isType := func(t hcl.Traversal) bool { return len(t) == 1 && typeWords[t.RootName()] }
	if !slices.ContainsFunc(all, isType) {
		return all
	}
	var types []hcl.Range
	// The visitor itself finds nothing wrong.
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && call.Name == convertName && len(call.Args) == 2 {
			types = append(types, call.Args[1].Range())
		}
		return nil
	})
	return slices.DeleteFunc(slices.Clone(all), func(t hcl.Traversal) bool {
		return isType(t) && slices.ContainsFunc(types, func(r hcl.Range) bool {
			at := t.SourceRange()
			return r.Filename == at.Filename && r.Start.Byte <= at.Start.Byte && at.End.Byte <= r.End.Byte
		})
	})
}
