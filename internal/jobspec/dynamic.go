// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

const dynamicName = "dynamic"

// instance is one block to decode, written as it is or made by a dynamic block.
type instance struct {
	labels []string
	body   *hclsyntax.Body
	ctx    *hcl.EvalContext
	at     hcl.Range
}

// expand returns the blocks by type, in order, with dynamic blocks replaced by what they generate.
func (d *decoder) expand(blocks hclsyntax.Blocks, ctx *hcl.EvalContext) map[string][]*instance {
	if len(blocks) == 0 {
		return nil
	}
	out := make(map[string][]*instance, len(blocks))
	for _, b := range blocks {
		if b.Type == dynamicName && len(b.Labels) == 1 {
			out[b.Labels[0]] = append(out[b.Labels[0]], d.generate(b, ctx)...)
			continue
		}
		out[b.Type] = append(out[b.Type], &instance{labels: b.Labels, body: b.Body, ctx: ctx, at: b.DefRange()})
	}
	return out
}

// generate makes the blocks of one dynamic block. Where for_each is not known, one block with an unknown iterator stands
// for all of them, so that its content is checked.
func (d *decoder) generate(b *hclsyntax.Block, ctx *hcl.EvalContext) []*instance {
	forEach, content := b.Body.Attributes["for_each"], contentOf(b)
	if forEach == nil || content == nil {
		d.diags = append(d.diags, errorAt(b.DefRange(), "Invalid dynamic block", "A dynamic block needs for_each and a content block.")...)
		return nil
	}
	coll, diags := forEach.Expr.Value(ctx)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return nil
	}
	coll, _ = coll.Unmark()
	if !coll.IsKnown() {
		d.unknown = true
		if !d.checking {
			d.errorf(forEach.Expr, "Unknown value", "The for_each of a dynamic block is not known yet.")
			return nil
		}
		return []*instance{d.instance(b, content, ctx, cty.DynamicVal, cty.DynamicVal)}
	}
	if coll.IsNull() || !coll.CanIterateElements() {
		d.errorf(forEach.Expr, "Wrong value", "The for_each of a dynamic block is a list, set or map, not %s.", friendly(coll))
		return nil
	}
	var out []*instance
	for it := coll.ElementIterator(); it.Next(); {
		k, v := it.Element()
		if coll.Type().IsSetType() {
			k = v
		}
		out = append(out, d.instance(b, content, ctx, k, v))
	}
	return out
}

// instance makes one block with the iterator set to k and v.
func (d *decoder) instance(b *hclsyntax.Block, content *hclsyntax.Block, ctx *hcl.EvalContext, k, v cty.Value) *instance {
	inner := ctx.NewChild()
	inner.Variables = map[string]cty.Value{
		iteratorName(b): cty.ObjectVal(map[string]cty.Value{"key": k, "value": v}),
	}
	in := &instance{body: content.Body, ctx: inner, at: b.DefRange()}
	attr := b.Body.Attributes["labels"]
	if attr == nil {
		return in
	}
	labels, diags := attr.Expr.Value(inner)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return in
	}
	labels, _ = labels.UnmarkDeep()
	list, err := convert.Convert(labels, cty.List(cty.String))
	if err != nil || list.IsNull() {
		d.errorf(attr.Expr, "Wrong type of value", "The labels of a dynamic block are a list of text, not %s.", friendly(labels))
		return in
	}
	if !list.IsWhollyKnown() {
		d.unknown = true
		if !d.checking {
			d.errorf(attr.Expr, "Unknown value", "The labels of a dynamic block are not known yet.")
		}
		return in
	}
	for it := list.ElementIterator(); it.Next(); {
		_, l := it.Element()
		if l.IsNull() {
			d.errorf(attr.Expr, "Wrong value", "A label of a dynamic block is null.")
			return in
		}
		in.labels = append(in.labels, plainText(l.AsString()))
	}
	return in
}

func friendly(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	return v.Type().FriendlyName()
}

func contentOf(b *hclsyntax.Block) *hclsyntax.Block {
	for _, inner := range b.Body.Blocks {
		if inner.Type == "content" {
			return inner
		}
	}
	return nil
}

// iteratorName is the name of the iterator of a dynamic block: that of the blocks it makes, unless it says otherwise.
func iteratorName(b *hclsyntax.Block) string {
	if attr := b.Body.Attributes["iterator"]; attr != nil {
		if name := hcl.ExprAsKeyword(attr.Expr); name != "" {
			return name
		}
	}
	return b.Labels[0]
}
