// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// The functions here do what their namesakes do, but refuse arguments that would make a few letters in a file cost
// gigabytes: files are checked before anybody trusts them.

const (
	maxProduct     = 100_000 // elements of a setproduct
	maxFormatWidth = 10_000  // width and precision of a format verb
	maxIndent      = 1_000   // spaces of an indent
)

// bounded is f with a check of its known arguments in front.
func bounded(f function.Function, check func(args []cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

var boundedProductFunc = bounded(stdlib.SetProductFunc, func(args []cty.Value) error {
	n := 1
	for _, a := range args {
		a, _ := a.Unmark()
		switch ty := a.Type(); {
		case ty.IsTupleType():
			n *= ty.Length()
		case a.IsKnown() && !a.IsNull() && ty.IsCollectionType():
			n *= a.LengthInt()
		}
		if n > maxProduct {
			return fmt.Errorf("the product has more than %d elements", maxProduct)
		}
	}
	return nil
})

func boundedFormat(f function.Function) function.Function {
	return bounded(f, func(args []cty.Value) error {
		if len(args) == 0 {
			return nil
		}
		format, _ := args[0].Unmark()
		if !format.IsKnown() || format.IsNull() || format.Type() != cty.String {
			return nil
		}
		number, verb := 0, false
		for _, c := range format.AsString() {
			switch {
			case c == '%':
				number, verb = 0, !verb
			case verb && c >= '0' && c <= '9':
				if number = number*10 + int(c-'0'); number > maxFormatWidth {
					return fmt.Errorf("a width may be %d at most", maxFormatWidth)
				}
			case verb && strings.ContainsRune("+-# .[]", c):
				number = 0
			default:
				verb = false
			}
		}
		return nil
	})
}

var boundedIndentFunc = bounded(stdlib.IndentFunc, func(args []cty.Value) error {
	n, _ := args[0].Unmark()
	if n.IsKnown() && !n.IsNull() && n.Type() == cty.Number && n.GreaterThan(cty.NumberIntVal(maxIndent)).True() {
		return fmt.Errorf("at most %d spaces", maxIndent)
	}
	return nil
})

// jsonDecodeFunc says of text that is no JSON what is wrong with it. Its namesake says "EOF".
var jsonDecodeFunc = bounded(boundedDecode(stdlib.JSONDecodeFunc), func(args []cty.Value) error {
	s, _ := args[0].Unmark()
	if !s.IsKnown() || s.IsNull() || s.Type() != cty.String {
		return nil
	}
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(s.AsString()), &raw); err != nil {
		return fmt.Errorf("the text is no JSON: %w", err)
	}
	return nil
})

// boundedDecode refuses text nested so deep that the decoder, which recurses, would exhaust the stack.
func boundedDecode(f function.Function) function.Function {
	return bounded(f, func(args []cty.Value) error {
		s, _ := args[0].Unmark()
		if !s.IsKnown() || s.IsNull() || s.Type() != cty.String {
			return nil
		}
		return jsonNotTooDeep([]byte(s.AsString()))
	})
}
