// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/cairnflow/cairn/internal/workflow"
)

// mark is the type of our marks on values.
type mark string

// sensitive marks values that are never shown. It travels with everything computed from them.
const sensitive mark = "sensitive"

// toCty reads a JSON value as a type. Where the type holds `any`, the value says the rest.
func toCty(raw json.RawMessage, ty cty.Type) (cty.Value, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return cty.NullVal(ty), nil
	}
	if v, ok := primitive(raw, ty); ok {
		return v, nil
	}
	if err := jsonNotTooDeep(raw); err != nil {
		return cty.NilVal, err
	}
	implied, err := ctyjson.ImpliedType(raw)
	if err != nil {
		return cty.NilVal, fmt.Errorf("not JSON: %w", err)
	}
	v, err := ctyjson.Unmarshal(raw, implied)
	if err != nil {
		return cty.NilVal, fmt.Errorf("not JSON: %w", err)
	}
	if ty == cty.DynamicPseudoType {
		return v, nil
	}
	return convert.Convert(v, ty)
}

// primitive reads the values that nearly every output is, without the machinery that larger ones need: a view may hold
// 100,000 of them.
func primitive(raw json.RawMessage, ty cty.Type) (cty.Value, bool) {
	any := ty == cty.DynamicPseudoType
	switch c := raw[0]; {
	case c == '"' && (any || ty == cty.String):
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return cty.StringVal(s), true
		}
	case (c == '-' || c >= '0' && c <= '9') && (any || ty == cty.Number):
		if v, err := cty.ParseNumberVal(string(raw)); err == nil {
			return v, true
		}
	case (any || ty == cty.Bool) && string(raw) == "true":
		return cty.True, true
	case (any || ty == cty.Bool) && string(raw) == "false":
		return cty.False, true
	}
	return cty.NilVal, false
}

// jsonNotTooDeep refuses what would exhaust the stack of the decoders, which recurse.
func jsonNotTooDeep(raw []byte) error {
	depth, text, escaped := 0, false, false
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case text:
			escaped, text = c == '\\', c != '"'
		case c == '"':
			text = true
		case c == '[' || c == '{':
			if depth++; depth > maxNesting {
				return fmt.Errorf("lists and objects may stand inside each other %d deep", maxNesting)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// fromCty writes a known value as JSON.
func fromCty(v cty.Value) (workflow.Value, error) {
	secret := v.ContainsMarked()
	if secret {
		v, _ = v.UnmarkDeep()
	}
	switch {
	case !v.IsWhollyKnown():
		return workflow.Value{}, fmt.Errorf("is not known yet")
	case v.IsNull():
		return workflow.Value{JSON: json.RawMessage("null"), Sensitive: secret}, nil
	case v.Type().IsCapsuleType():
		return workflow.Value{}, fmt.Errorf("is %s, which is no data", article(v.Type().FriendlyName()))
	}
	raw, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return workflow.Value{}, fmt.Errorf("cannot be written as JSON: %w", err)
	}
	return workflow.Value{JSON: raw, Sensitive: secret}, nil
}

// inPath puts the place inside a value in front of a conversion's error.
func inPath(err error) error {
	var at cty.PathError
	if !errors.As(err, &at) || len(at.Path) == 0 {
		return err
	}
	var b strings.Builder
	for _, step := range at.Path {
		switch step := step.(type) {
		case cty.GetAttrStep:
			b.WriteString("." + step.Name)
		case cty.IndexStep:
			switch {
			case step.Key.Type() == cty.String && step.Key.IsKnown():
				fmt.Fprintf(&b, "[%q]", step.Key.AsString())
			case step.Key.Type() == cty.Number && step.Key.IsKnown():
				b.WriteString("[" + step.Key.AsBigFloat().Text('f', -1) + "]")
			default:
				b.WriteString("[…]")
			}
		}
	}
	return fmt.Errorf("at %s %w", b.String(), err)
}

// safeType removes what only conversions understand.
func safeType(ty cty.Type) cty.Type { return ty.WithoutOptionalAttributesDeep() }
