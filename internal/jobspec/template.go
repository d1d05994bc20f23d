// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Noncharacters are valid in strings and JSON, survive every function that moves text, and are never anybody's text.
const (
	markDollar  = "\uFDD0" // the $ of a template the author wrote
	markPercent = "\uFDD1" // the % of a template directive the author wrote
	markEscape  = "\uFDD2" // begins the escape of a noncharacter that data contained
)

var (
	unmark       = strings.NewReplacer(markDollar, "$", markPercent, "%", markEscape+"a", markDollar, markEscape+"b", markPercent, markEscape+"c", markEscape)
	escapeMarks  = strings.NewReplacer(markDollar, markEscape+"a", markPercent, markEscape+"b", markEscape, markEscape+"c")
	escapeClient = strings.NewReplacer("${", "$${", "%{", "%%{")
)

// dollarsOfData are dollars, or percents, of data in front of an author's template.
var dollarsOfData = regexp.MustCompile(`(\$+)(\x{FDD0})|(%+)(\x{FDD1})`)

// hasMark reports whether s may contain a noncharacter of this package. It looks at their first two bytes, which some
// Arabic letters share, so it may be true for nothing.
func hasMark(s string) bool { return strings.Contains(s, "\uFDD0"[:2]) }

// authored marks the templates in text the author wrote: the dollars before a brace, all of them, because $${ is an escape
// that the author may have meant for the client.
func authored(s string) string {
	if !strings.Contains(s, "${") && !strings.Contains(s, "%{") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i
		for end < len(s) && s[end] == s[i] {
			end++
		}
		switch run := s[i:end]; {
		case s[i] == '$' && end < len(s) && s[end] == '{':
			b.WriteString(strings.Repeat(markDollar, len(run)))
		case s[i] == '%' && end < len(s) && s[end] == '{':
			b.WriteString(strings.Repeat(markPercent, len(run)))
		default:
			b.WriteString(run)
		}
		i = end
	}
	return b.String()
}

// plainText turns evaluated text into what the author would read: templates and data look alike again.
func plainText(s string) string {
	if !hasMark(s) {
		return s
	}
	return unmark.Replace(s)
}

// clientText turns evaluated text into what a Nomad client must be given where it reads templates: the author's
// templates as they are, data escaped so that the program receives it unchanged.
func clientText(s string) string {
	if !strings.Contains(s, "{") {
		return plainText(s)
	}
	// A client reads two dollars before a brace as an escape, so dollars that are data may not touch an author's template.
	if hasMark(s) {
		s = dollarsOfData.ReplaceAllString(s, markDollar+`{"$1$3"}$2$4`)
	}
	s = escapeClient.Replace(s)
	return plainText(s)
}

// Data prepares a value that comes from outside the author's files (a param, an output, each.key) for evaluation in a body.
// It changes nothing but the noncharacters this package uses itself, so that no data can pass for an author's template.
// Every value that is not the author's text must pass through it before it enters an EvalContext.
func Data(v cty.Value) cty.Value { return mapText(v, escapeMarks.Replace) }

// Plain turns a value that was evaluated from a rewritten expression back into ordinary text, for use outside of bodies.
func Plain(v cty.Value) cty.Value { return mapText(v, plainText) }

// CarriesTemplate reports whether v contains a template that the author wrote, or a run-time reference.
func CarriesTemplate(v cty.Value) bool {
	return anyText(v, func(s string) bool { return strings.Contains(s, markDollar) || strings.Contains(s, markPercent) })
}

// mapText applies f to every text of v, keys of maps and objects included. A value without a noncharacter is returned as it is.
func mapText(v cty.Value, f func(string) string) cty.Value {
	if !anyText(v, hasMark) {
		return v
	}
	v, marks := v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return v.WithMarks(marks)
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		v = cty.StringVal(f(v.AsString()))
	case ty.IsMapType(), ty.IsObjectType():
		elems := make(map[string]cty.Value, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			elems[f(k.AsString())] = mapText(e, f)
		}
		switch {
		case ty.IsObjectType():
			v = cty.ObjectVal(elems)
		case len(elems) > 0:
			v = cty.MapVal(elems)
		}
	case ty.IsListType(), ty.IsSetType(), ty.IsTupleType():
		elems := make([]cty.Value, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			elems = append(elems, mapText(e, f))
		}
		switch {
		case ty.IsTupleType():
			v = cty.TupleVal(elems)
		case len(elems) == 0:
		case ty.IsListType():
			v = cty.ListVal(elems)
		default:
			v = cty.SetVal(elems)
		}
	}
	return v.WithMarks(marks)
}

// anyText reports whether f holds for any text of v, keys of maps and objects included.
func anyText(v cty.Value, f func(string) bool) bool {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return false
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		return f(v.AsString())
	case ty.IsPrimitiveType(), !v.CanIterateElements():
		return false
	}
	named := ty.IsMapType() || ty.IsObjectType()
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if named && f(k.AsString()) || anyText(e, f) {
			return true
		}
	}
	return false
}

// textMovers are the functions that hand text on without looking at it: the only ones through which a run-time reference,
// whose value no one knows before the task runs on its machine, may pass.
var textMovers = map[string]bool{
	"chomp": true, "chunklist": true, "coalesce": true, "coalescelist": true, "compact": true, "concat": true, "distinct": true,
	"element": true, "flatten": true, "format": true, "formatlist": true, "indent": true, "join": true, "jsonencode": true,
	"lookup": true, "merge": true, "setproduct": true, "setunion": true, "slice": true, "templatefile": true,
	"tolist": true, "tomap": true, "toset": true, "tostring": true, "trimspace": true, "try": true, "values": true,
	"yamlencode": true, "zipmap": true, "convert": true,
}

// Guard returns funcs for use in bodies, changed so that none of them can make data look like an author's template: a
// result may hold a noncharacter of this package only if an argument did, and only functions that hand text on may pass it.
func Guard(funcs map[string]function.Function) map[string]function.Function {
	guarded := make(map[string]function.Function, len(funcs))
	for name, f := range funcs {
		if name == "try" || name == "can" { // they call nothing but expressions, whose functions are guarded themselves
			guarded[name] = f
			continue
		}
		guarded[name] = guard(name, f)
	}
	return guarded
}

func guard(name string, f function.Function) function.Function {
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type:        f.ReturnTypeForValues,
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err != nil || !CarriesTemplate(v) {
				return v, err
			}
			if !textMovers[name] {
				return cty.NilVal, fmt.Errorf("its result contains U+FDD0 or U+FDD1, which no text may contain")
			}
			for _, a := range args {
				// format("%c", n) could make one out of a number.
				if n := markNumber; a.Type() == cty.Number && a.IsKnown() && !a.IsNull() && a.AsBigFloat().Cmp(n[0]) >= 0 && a.AsBigFloat().Cmp(n[1]) <= 0 {
					return cty.NilVal, fmt.Errorf("it was given the number of a noncharacter")
				}
			}
			for _, a := range args {
				if CarriesTemplate(a) {
					return v, nil
				}
			}
			return cty.NilVal, fmt.Errorf("its result contains U+FDD0 or U+FDD1, which no text may contain")
		},
	})
}

// markNumber is the range of code points of the first and the last noncharacter used here.
var markNumber = [2]*big.Float{big.NewFloat(0xFDD0), big.NewFloat(0xFDD1)}
