// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Value is what was given for something of a declared type, as the source text of the type says, by the rules of a param:
// text stands for itself where text is wanted, and is an expression without references otherwise. The value is not converted
// to the type yet. The error ends a sentence that begins with what the value is for.
func (g Given) Value(typeText string) (json.RawMessage, error) {
	if g.JSON != nil {
		return g.JSON, nil
	}
	v := cty.StringVal(g.Text)
	if typeText = strings.TrimSpace(typeText); typeText != "string" {
		parsed, err := textValue(g.Text)
		switch {
		case err == nil:
			v = parsed
		case (typeText == "" || typeText == "any") && namelike(g.Text): // text without its quotes
		case (typeText == "number" || typeText == "bool") && hclsyntax.ValidIdentifier(g.Text):
			return nil, fmt.Errorf("must be %s, not %s", wanted(typeText), shorten(g.Text))
		default:
			return nil, fmt.Errorf("must be %s, and the text given is no such value: %w", wanted(typeText), err)
		}
	}
	out, err := fromCty(v)
	return out.JSON, err
}

// wanted is a type as a person would say it.
func wanted(typeText string) string {
	switch typeText {
	case "number":
		return wantType(cty.Number)
	case "bool":
		return wantType(cty.Bool)
	case "":
		return "any"
	}
	return typeText
}
