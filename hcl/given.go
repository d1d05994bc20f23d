// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// Value is what was given for something of a declared type, as the source text of the type says, by the rules of a param:
// text stands for itself where text is wanted, and is an expression without references otherwise. The value is not converted
// to the type yet.
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
		case typeText != "" && typeText != "any" || !namelike(g.Text):
			return nil, fmt.Errorf("the text given is no value of type %s: %w", typeOrAny(typeText), err)
		}
	}
	out, err := fromCty(v)
	return out.JSON, err
}

func typeOrAny(typeText string) string {
	if typeText == "" {
		return "any"
	}
	return typeText
}
