// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// outputType is the type of an output in its parsed form.
type outputType struct {
	ty       cty.Type
	defaults *typeexpr.Defaults
}

// convert reads what a program wrote as the type of an output: a JSON value, or its text as a JSON string. Null stays
// null: it means that the output is missing.
func (e *Evaluator) convert(expr workflow.Expr, input *workflow.Value) (workflow.Value, error) {
	name, secret := e.outputAt(expr.Range)
	if input == nil || input.Null() {
		return workflow.Value{JSON: json.RawMessage("null"), Sensitive: secret}, nil
	}
	secret = secret || input.Sensitive
	want, err := e.typeOf(expr.Text)
	if err != nil {
		return workflow.Value{}, fmt.Errorf("%s%s has a type that cannot be read: %w", place(expr.Range), name, err)
	}
	v, err := want.read(input.JSON)
	if err != nil {
		if secret {
			err = errors.New("what was written is something else")
		}
		return workflow.Value{}, fmt.Errorf("%s%s must be %s: %w", place(expr.Range), name, wantType(want.ty), err)
	}
	out, err := fromCty(v)
	if err != nil {
		return workflow.Value{}, fmt.Errorf("%s%s %w", place(expr.Range), name, err)
	}
	out.Sensitive = secret
	return out, nil
}

// read converts a JSON value. Text stands for itself if text is wanted, and for the JSON in it otherwise.
func (t outputType) read(raw json.RawMessage) (cty.Value, error) {
	v, err := toCty(raw, cty.DynamicPseudoType)
	if err != nil {
		return cty.NilVal, err
	}
	if v.Type() == cty.String && t.ty != cty.String {
		text := strings.TrimSpace(v.AsString())
		if t.ty == cty.Number || t.ty == cty.Bool {
			v = cty.StringVal(text)
		} else if parsed, err := toCty(json.RawMessage(text), cty.DynamicPseudoType); err == nil && text != "" {
			v = parsed
		} else if t.ty != cty.DynamicPseudoType {
			return cty.NilVal, fmt.Errorf("%s is no JSON", quoted(text))
		}
	}
	if v.IsNull() {
		return cty.NullVal(safeType(t.ty)), nil
	}
	if t.defaults != nil {
		v = t.defaults.Apply(v)
	}
	conv, err := convert.Convert(v, t.ty)
	switch {
	case err == nil:
		return conv, nil
	case v.Type() == cty.String:
		return cty.NilVal, fmt.Errorf("%s is not", quoted(v.AsString()))
	case t.ty.IsPrimitiveType():
		return cty.NilVal, fmt.Errorf("it is %s", friendlyType(v))
	}
	return cty.NilVal, inPath(err)
}

// quoted shows the beginning of what a program wrote.
func quoted(s string) string {
	const shown = 60
	if len(s) > shown {
		s = strings.ToValidUTF8(s[:shown], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// typeOf parses the text of a type, once.
func (e *Evaluator) typeOf(text string) (outputType, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t, ok := e.types[text]; ok {
		return t, nil
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), "type", hcl.InitialPos)
	if diags.HasErrors() {
		return outputType{}, errors.New(diags[0].Detail)
	}
	ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(expr)
	if diags.HasErrors() {
		return outputType{}, errors.New(diags[0].Detail)
	}
	e.types[text] = outputType{ty, defaults}
	return e.types[text], nil
}

// outputAt names the output whose type stands at r.
func (e *Evaluator) outputAt(r workflow.Range) (name string, sensitive bool) {
	if o, ok := e.outputs()[r]; ok {
		return o.name, o.sensitive
	}
	return "an output", false
}

// declaredOutput is how messages call an output, and whether they may show it.
type declaredOutput struct {
	name      string
	sensitive bool
}

func declaredOutputs(def *workflow.Definition) map[workflow.Range]declaredOutput {
	all := map[workflow.Range]declaredOutput{}
	for i := range def.Tasks {
		t := &def.Tasks[i]
		for j := range t.Outputs {
			o := &t.Outputs[j]
			all[o.Type.Range] = declaredOutput{fmt.Sprintf("output %s of task %s", o.Name, t.Name), o.Sensitive}
		}
	}
	return all
}
