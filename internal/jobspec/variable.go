// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// variable is one variable that a job file declares.
type variable struct {
	name        string
	at          hcl.Range
	want        cty.Type  // NilType: any
	fallback    cty.Value // NilVal: none, a value is required
	validations []validation
}

// validation is a condition on the value of a variable.
type validation struct {
	condition hclsyntax.Expression
	message   string
	at        hcl.Range
}

// declareVariable reads a variable block. Nothing in it may refer to anything; a condition refers to its variable.
func declareVariable(b *hclsyntax.Block) (*variable, hcl.Diagnostics) {
	v := &variable{name: b.Labels[0], at: b.LabelRanges[0]}
	var diags hcl.Diagnostics
	if !hclsyntax.ValidIdentifier(v.name) {
		diags = append(diags, errorAt(v.at, "Invalid name", "The name of a variable is letters, digits, underscores and dashes, beginning with a letter.")...)
	}
	content, more := b.Body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "type"}, {Name: "default"}, {Name: "description"}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "validation"}},
	})
	diags = append(diags, more...)
	if attr := content.Attributes["description"]; attr != nil {
		_, more := textArgument(attr)
		diags = append(diags, more...)
	}
	if attr := content.Attributes["type"]; attr != nil {
		ty, more := typeexpr.Type(attr.Expr)
		diags = append(diags, more...)
		if more.HasErrors() {
			return v, diags
		}
		v.want = ty
	}
	if attr := content.Attributes["default"]; attr != nil {
		value, more := attr.Expr.Value(nil)
		diags = append(diags, more...)
		if more.HasErrors() {
			return v, diags
		}
		converted, err := convertVariable(value, v.want)
		if err != nil {
			diags = append(diags, errorAt(attr.Expr.Range(), "Wrong type of value", "The default of %s does not have its type: %s.", v.name, err)...)
		}
		v.fallback = converted
		if v.want == cty.NilType {
			v.want = converted.Type()
		}
	}
	for _, block := range content.Blocks {
		val, more := declareValidation(v.name, block)
		diags = append(diags, more...)
		v.validations = append(v.validations, val)
	}
	return v, diags
}

func declareValidation(name string, b *hcl.Block) (validation, hcl.Diagnostics) {
	val := validation{at: b.DefRange}
	content, diags := b.Body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "condition", Required: true}, {Name: "error_message", Required: true}},
	})
	if attr := content.Attributes["condition"]; attr != nil {
		val.condition = attr.Expr.(hclsyntax.Expression)
		own := 0
		for _, t := range Variables(val.condition) {
			if step, ok := second(t); ok && t.RootName() == "var" && step == name {
				own++
				continue
			}
			diags = append(diags, errorAt(t.SourceRange(), "Invalid reference",
				"The condition of variable %q refers to var.%s only.", name, name)...)
		}
		if own == 0 && len(Variables(val.condition)) == 0 {
			diags = append(diags, errorAt(attr.Range, "Invalid condition", "The condition of variable %q must look at var.%s.", name, name)...)
		}
	}
	if attr := content.Attributes["error_message"]; attr != nil {
		text, more := textArgument(attr)
		diags = append(diags, more...)
		if text == "" && !more.HasErrors() {
			diags = append(diags, errorAt(attr.Range, "Invalid error_message", "Write a sentence that says what a good value looks like.")...)
		}
		val.message = text
	}
	return val, diags
}

// textArgument evaluates an argument that is text and refers to nothing.
func textArgument(attr *hcl.Attribute) (string, hcl.Diagnostics) {
	v, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		return "", diags
	}
	text, err := convert.Convert(v, cty.String)
	if err != nil || text.IsNull() || !text.IsKnown() {
		return "", errorAt(attr.Range, "Wrong type of value", "%s is text.", attr.Name)
	}
	return text.AsString(), diags
}

// value is what the variable has: the value given, converted, or its default.
func (v *variable) value(given map[string]cty.Value, functions map[string]function.Function) (cty.Value, hcl.Diagnostics) {
	value, ok := given[v.name]
	if !ok {
		if v.fallback == cty.NilVal {
			return cty.DynamicVal, errorAt(v.at, "Missing variable", "The variable %q has no default, so it needs a value.", v.name)
		}
		value = v.fallback
	}
	converted, err := convertVariable(value, v.want)
	if err != nil {
		return cty.DynamicVal, errorAt(v.at, "Wrong type of value", "The value given for %s does not have its type: %s.", v.name, err)
	}
	var diags hcl.Diagnostics
	ctx := &hcl.EvalContext{
		Functions: functions,
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{v.name: converted})},
	}
	for _, val := range v.validations {
		if val.condition == nil {
			continue
		}
		result, more := val.condition.Value(ctx)
		diags = append(diags, more...)
		if more.HasErrors() || !result.IsKnown() {
			continue
		}
		result, err := convert.Convert(result, cty.Bool)
		switch {
		case err != nil || result.IsNull():
			diags = append(diags, errorAt(val.condition.Range(), "Invalid condition", "A condition is true or false.")...)
		case result.False():
			diags = append(diags, errorAt(v.at, "Invalid value for a variable", "%s (The rule is at %s.)", val.message, lineOf(val.at))...)
		}
	}
	return converted, diags
}
