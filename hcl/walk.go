// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxWalked is how many instances a fan-out may have before it matters that every instance of another walks them all.
const maxWalked = 1000

// walks warns of fan-outs whose bodies walk a large fan-out: what is the same for all instances belongs into locals, which
// are evaluated once. Sizes that a run decides are not known here.
func (c *checker) walks() {
	for _, t := range c.flow.tasks {
		if !t.fanned() || t.nomad == nil {
			continue
		}
		for _, expr := range t.nomad.Expressions() {
			for _, at := range wholeTasks(expr) {
				name, _ := stepName(at, 1)
				if other := c.flow.taskByName[name]; other != nil && other.size > maxWalked {
					c.warnf(at.SourceRange(), "A walk in every instance",
						"task.%s has %d instances, and every instance of task %s walks all of them. Put the expression into locals, where it is evaluated once.", name, other.size, t.name)
				}
			}
		}
	}
}

// wholeTasks are the references to tasks that are not followed by a key.
func wholeTasks(expr hclsyntax.Expression) []hcl.Traversal {
	indexed := map[int]bool{} // by position in the file
	var whole []hcl.Traversal
	hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // the visitor returns none
		switch n := n.(type) {
		case *hclsyntax.IndexExpr:
			if t, ok := n.Collection.(*hclsyntax.ScopeTraversalExpr); ok {
				indexed[t.SrcRange.Start.Byte] = true
			}
		case *hclsyntax.ScopeTraversalExpr:
			if n.Traversal.RootName() == "task" && len(n.Traversal) == 2 && !indexed[n.SrcRange.Start.Byte] {
				whole = append(whole, n.Traversal)
			}
		}
		return nil
	})
	return whole
}
