// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Merge returns the inline body own with defaults beneath it, attribute by attribute, inside of blocks too. Blocks that may be
// repeated and have no label (constraint, template, …) add up, those of defaults first; with labels, they merge when the
// labels are equal. A map such as env is merged by key, whether it is written as a block or as an argument. Blocks that are not
// Nomad's are taken to be written at most once. Neither body is changed; the result shares parts of both.
func Merge(defaults, own *hclsyntax.Body) *hclsyntax.Body {
	return mergeBody(defaults, own, bodies().inline)
}

// MergePlacement is Merge for a body with a group block: of defaults, only what says where the job may run gets into it.
func MergePlacement(defaults, own *hclsyntax.Body) *hclsyntax.Body {
	placed := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: defaults.SrcRange, EndRange: defaults.EndRange}
	for name, attr := range defaults.Attributes {
		if IsPlacement(name) {
			placed.Attributes[name] = attr
		}
	}
	for _, b := range defaults.Blocks {
		if IsPlacement(b.Type) || b.Type == dynamicName && len(b.Labels) == 1 && IsPlacement(b.Labels[0]) {
			placed.Blocks = append(placed.Blocks, b)
		}
	}
	return mergeBody(placed, own, bodies().grouped)
}

func mergeBody(defaults, own *hclsyntax.Body, s *schema) *hclsyntax.Body {
	out := &hclsyntax.Body{
		Attributes: make(hclsyntax.Attributes, len(own.Attributes)+len(defaults.Attributes)),
		SrcRange:   own.SrcRange,
		EndRange:   own.EndRange,
	}
	ownBlocks := slices.Clone(own.Blocks)
	for name, attr := range own.Attributes {
		out.Attributes[name] = attr
	}
	for _, name := range sortedNames(defaults.Attributes) {
		attr, mine := defaults.Attributes[name], out.Attributes[name]
		switch f := s.field(name); {
		case f != nil && f.form == formMap && mine != nil:
			out.Attributes[name] = mergedMap(attr.Expr, mine)
		case f != nil && f.form == formMap && hasBlock(ownBlocks, name):
			i := slices.IndexFunc(ownBlocks, func(b *hclsyntax.Block) bool { return b.Type == name })
			out.Attributes[name] = mergedMap(attr.Expr, blockAsAttribute(ownBlocks[i]))
			ownBlocks = slices.Delete(ownBlocks, i, i+1)
		case mine == nil && !hasBlock(ownBlocks, name):
			out.Attributes[name] = attr
		}
	}
	for _, block := range defaults.Blocks {
		f, mine := s.field(block.Type), out.Attributes[block.Type]
		if mine != nil {
			if f != nil && f.form == formMap {
				out.Attributes[block.Type] = mergedMap(blockAsAttribute(block).Expr, mine)
			}
			continue
		}
		repeated := block.Type == dynamicName || f != nil && !f.once() && f.form != formAttr
		if block.Type == "network" { // the api module could hold several, but a group has one
			repeated = false
		}
		i := -1
		if !repeated || len(block.Labels) > 0 && block.Type != dynamicName {
			i = slices.IndexFunc(ownBlocks, func(b *hclsyntax.Block) bool {
				return b.Type == block.Type && (!repeated || slices.Equal(b.Labels, block.Labels))
			})
		}
		if i < 0 {
			out.Blocks = append(out.Blocks, block)
			continue
		}
		inner := (*schema)(nil)
		if f != nil {
			inner = f.elem
		}
		merged := *ownBlocks[i]
		merged.Body = mergeBody(block.Body, merged.Body, inner)
		ownBlocks[i] = &merged
	}
	out.Blocks = append(out.Blocks, ownBlocks...)
	return out
}

// field is nil-safe: a body without a schema has no fields.
func (s *schema) field(name string) *field {
	if s == nil {
		return nil
	}
	return s.byName[name]
}

func hasBlock(blocks hclsyntax.Blocks, name string) bool {
	return slices.ContainsFunc(blocks, func(b *hclsyntax.Block) bool { return b.Type == name })
}

// mergedMap is mine = merge(beneath, mine).
func mergedMap(beneath hclsyntax.Expression, mine *hclsyntax.Attribute) *hclsyntax.Attribute {
	at := mine.Expr.Range()
	merged := *mine
	merged.Expr = &hclsyntax.FunctionCallExpr{
		Name: "merge", Args: []hclsyntax.Expression{beneath, mine.Expr},
		NameRange: at, OpenParenRange: at, CloseParenRange: at,
	}
	return &merged
}

// blockAsAttribute writes env { A = 1 } as env = { A = 1 }.
func blockAsAttribute(b *hclsyntax.Block) *hclsyntax.Attribute {
	obj := &hclsyntax.ObjectConsExpr{SrcRange: b.Body.SrcRange, OpenRange: b.OpenBraceRange}
	for _, name := range sortedNames(b.Body.Attributes) {
		attr := b.Body.Attributes[name]
		obj.Items = append(obj.Items, hclsyntax.ObjectConsItem{
			KeyExpr:   &hclsyntax.LiteralValueExpr{Val: cty.StringVal(name), SrcRange: attr.NameRange},
			ValueExpr: attr.Expr,
		})
	}
	return &hclsyntax.Attribute{Name: b.Type, Expr: obj, SrcRange: hcl.RangeBetween(b.TypeRange, b.CloseBraceRange), NameRange: b.TypeRange}
}
