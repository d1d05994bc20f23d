// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Noncharacters are valid in strings and JSON, survive every function that moves text, and are never anybody's text.
const (
	markDollar  = "\uFDD0" // the $ of a template the author wrote
	markPercent = "\uFDD1" // the % of a template directive the author wrote
	markEscape  = "\uFDD2" // begins the escape of a noncharacter that data contained
	markOpen    = "\uFDD3" // before a left delimiter the author wrote, see actions.go
	markIn      = "\uFDD4" // before a value inside an action the author wrote
	markOut     = "\uFDD5" // after it
	markBroken  = "\uFDD6" // after text of the author's that leaves an action open
	markAll     = "\uFDD7" // before the data of a template block that is the author's from end to end

	actionMarks = markOpen + markIn + markOut + markBroken + markAll
	authorMarks = markDollar + markPercent + actionMarks
	allMarks    = authorMarks + markEscape
)

// escapeOf is what stands for a noncharacter of data.
var escapeOf = map[string]string{
	markDollar: markEscape + "a", markPercent: markEscape + "b", markEscape: markEscape + "c", markOpen: markEscape + "d",
	markIn: markEscape + "e", markOut: markEscape + "f", markBroken: markEscape + "g", markAll: markEscape + "h",
}

var (
	dropActions = strings.NewReplacer(markOpen, "", markIn, "", markOut, "", markBroken, "", markAll, "")
	escapeMarks = replacer(func(mark, escape string) []string { return []string{mark, escape} })
	unmark      = replacer(func(mark, escape string) []string { return []string{escape, mark} },
		markDollar, "$", markPercent, "%", markOpen, "", markIn, "", markOut, "", markBroken, "", markAll, "")
	escapeClient = strings.NewReplacer("${", "$${", "%{", "%%{")
)

func replacer(pair func(mark, escape string) []string, more ...string) *strings.Replacer {
	for mark, escape := range escapeOf {
		more = append(more, pair(mark, escape)...)
	}
	return strings.NewReplacer(more...)
}

// dollarsOfData are dollars, or percents, of data in front of an author's template.
var dollarsOfData = regexp.MustCompile(`(\$+)(\x{FDD0})|(%+)(\x{FDD1})`)

// hasMark reports whether s may contain a noncharacter of this package. It looks at their first two bytes, which some
// Arabic letters share, so it may be true for nothing.
func hasMark(s string) bool { return strings.Contains(s, "\uFDD0"[:2]) }

// withoutActions takes the marks of actions out, for all text that is not the data of a template block.
func withoutActions(s string) string {
	if !hasMark(s) {
		return s
	}
	return dropActions.Replace(s)
}

// hasActionMark reports whether s begins with a mark of an action.
func hasActionMark(s string) bool {
	return hasMark(s[:min(len(s), 2)]) && len(s) >= len(markOpen) && strings.Contains(actionMarks, s[:len(markOpen)])
}

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
		s = dropActions.Replace(s)
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

// Guard returns funcs for use in bodies, changed so that none of them can make data look like an author's template. Functions
// that hand text on may pass the author's templates; the others see the text that the author wrote, and what they make of
// it is data. What file reads is the author's. TemplateFile is left alone, because it does the same by itself.
func Guard(funcs map[string]function.Function) map[string]function.Function {
	guarded := make(map[string]function.Function, len(funcs))
	for name, f := range funcs {
		switch {
		case name == "try" || name == "can" || name == "templatefile":
			// The first two call nothing but expressions, whose functions are guarded themselves.
			guarded[name] = f
		case textMovers[name]:
			guarded[name] = guardMover(name, f)
		default:
			guarded[name] = guardReader(name, f)
		}
	}
	return guarded
}

// guardMover lets the author's templates through f, which hands text on.
func guardMover(name string, f function.Function) function.Function {
	formats := name == "format" || name == "formatlist"
	prepare := func(args []cty.Value) []cty.Value {
		if !formats || len(args) == 0 || !anyText(args[0], func(s string) bool { return strings.Contains(s, markOpen) }) {
			return args
		}
		// A verb inside an action would put data there, and nobody could tell.
		args = slices.Clone(args)
		args[0] = mapText(args[0], func(s string) string { return withoutActions(s) + markBroken })
		return args
	}
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type:        func(args []cty.Value) (cty.Type, error) { return f.ReturnTypeForValues(prepare(args)) },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(prepare(args))
			if err != nil || !anyText(v, isAuthors) {
				return v, err
			}
			authors := false
			for _, a := range args {
				authors = authors || anyText(a, isAuthors)
				// format("%c", n) could make a mark out of a number.
				if n := markNumber; a.Type() == cty.Number && a.IsKnown() && !a.IsNull() && a.AsBigFloat().Cmp(n[0]) >= 0 && a.AsBigFloat().Cmp(n[1]) <= 0 {
					return cty.NilVal, fmt.Errorf("it was given the number of a noncharacter")
				}
			}
			if !authors {
				return cty.NilVal, errMadeMark
			}
			return v, nil
		},
	})
}

// guardReader gives plain text to f, which looks at it.
func guardReader(name string, f function.Function) function.Function {
	plain := func(args []cty.Value) []cty.Value {
		out := make([]cty.Value, len(args))
		for i, a := range args {
			out[i] = Plain(a)
		}
		return out
	}
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type:        func(args []cty.Value) (cty.Type, error) { return f.ReturnTypeForValues(plain(args)) },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(plain(args))
			if err != nil || !v.IsKnown() {
				return v, err
			}
			if name == "file" && v.Type() == cty.String && !v.IsNull() {
				text, err := fileText(v.AsString())
				return cty.StringVal(text), err
			}
			safe := Data(v)
			if !safe.Type().Equals(v.Type()) { // names of attributes
				return cty.NilVal, errMadeMark
			}
			return safe, nil
		},
	})
}

func isAuthors(s string) bool { return hasMark(s) && strings.ContainsAny(s, authorMarks) }

var errMadeMark = errors.New("its result contains one of the noncharacters U+FDD0 to U+FDD7, which are not for use in text")

// markNumber is the range of code points of the first and the last noncharacter used here.
var markNumber = [2]*big.Float{big.NewFloat(0xFDD0), big.NewFloat(0xFDD7)}
