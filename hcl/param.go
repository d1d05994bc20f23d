// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

func (d *decoder) decodeParam(b *hclsyntax.Block) {
	name, ok := d.named(b)
	d.checkWords(b.Body, paramWords, nil)
	if !ok {
		return
	}
	if first := d.flow.paramByName[name]; first != nil {
		d.errorf(b.LabelRanges[0], "Duplicate param", "param %s is already declared at %s. Give one of them another name.", name, where(first.block.TypeRange))
		return
	}
	p := &param{name: name, block: b, ty: cty.DynamicPseudoType}
	if attr := b.Body.Attributes["type"]; attr != nil {
		p.ty, p.defaults = d.typeConstraint(attr)
		p.typeText = d.sourceText(attr.Expr.Range())
	}
	if v, ok := d.constant(b.Body, "description", kindText); ok {
		p.description = v.AsString()
	}
	if v, ok := d.constant(b.Body, "sensitive", kindBool); ok {
		p.sensitive = v.True()
	}
	if v, ok := d.constant(b.Body, "nullable", kindBool); ok {
		p.nullable = v.True()
	}
	if attr := b.Body.Attributes["default"]; attr != nil {
		p.fallback = &site{name: fmt.Sprintf("`default` of param %s", name), expr: attr.Expr, access: accessParam, kind: kindAny}
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type == "validation" {
			d.decodeValidation(p, inner)
		}
	}
	d.flow.paramByName[name] = p
	d.flow.params = append(d.flow.params, p)
}

func (d *decoder) decodeValidation(p *param, b *hclsyntax.Block) {
	d.labels(b)
	d.checkWords(b.Body, validationWords, nil)
	v := &validation{block: b}
	for _, part := range []struct {
		name string
		kind kind
		into **site
	}{{"condition", kindBool, &v.condition}, {"error_message", kindText, &v.message}} {
		attr := b.Body.Attributes[part.name]
		if attr == nil {
			d.errorf(b.TypeRange, "Missing argument", "A validation needs a condition and an error_message; %s is missing.", part.name)
			continue
		}
		*part.into = &site{name: fmt.Sprintf("`%s` of param %s", part.name, p.name), expr: attr.Expr, access: accessParam, kind: part.kind}
	}
	if v.condition != nil && v.message != nil {
		p.validations = append(p.validations, v)
	}
}
