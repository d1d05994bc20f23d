// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// kind is what an attribute wants its value to be. convert takes a value without marks, which may be unknown: then only its
// type is judged. Its error completes a sentence that begins with the attribute's name and never holds the value itself
// where that could be long or secret.
type kind struct {
	convert func(cty.Value) (cty.Value, error)
}

var errNull = errors.New("is null where a value is needed")

// typed is a kind of one type with a check of known values.
func typed(ty cty.Type, want string, check func(cty.Value) (cty.Value, error)) kind {
	return kind{func(v cty.Value) (cty.Value, error) {
		conv, err := convert.Convert(v, ty)
		if at := (cty.PathError{}); errors.As(err, &at) && len(at.Path) > 0 {
			return v, fmt.Errorf("must be %s: %w", want, inPath(err))
		}
		if err != nil {
			return v, fmt.Errorf("must be %s, not %s", want, friendlyType(v))
		}
		switch {
		case !conv.IsKnown():
			return conv, nil
		case conv.IsNull():
			return v, errNull
		case !conv.IsWhollyKnown() || check == nil:
			return conv, nil
		}
		return check(conv)
	}}
}

// friendlyType names the type of a value for a sentence.
func friendlyType(v cty.Value) string {
	switch {
	case v.IsNull() && v.IsKnown():
		return "null"
	case v.Type() == cty.DynamicPseudoType:
		return "a value of another type"
	}
	switch name := v.Type().FriendlyName(); name {
	case "string":
		return "text"
	case "tuple":
		return "a list"
	case "bool":
		return "true or false"
	default:
		return article(name)
	}
}

func article(noun string) string {
	if noun != "" && strings.ContainsRune("aeio", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

var kindAny = kind{func(v cty.Value) (cty.Value, error) { return v, nil }}

var kindBool = typed(cty.Bool, "true or false", nil)

var kindText = typed(cty.String, "text", nil)

// kindTextMap takes text by name.
var kindTextMap = kind{func(v cty.Value) (cty.Value, error) {
	if ty := v.Type(); ty.IsObjectType() {
		for _, name := range sortedKeys(ty.AttributeTypes()) {
			if attr := ty.AttributeType(name); !attr.IsPrimitiveType() && attr != cty.DynamicPseudoType {
				return v, fmt.Errorf("must hold text, and %q is %s. Write jsonencode(…) around it", shorten(name), friendlyType(cty.UnknownVal(attr)))
			}
		}
	}
	return textMap.convert(v)
}}

var textMap = typed(cty.Map(cty.String), `a map of text such as { team = "data" }`, func(v cty.Value) (cty.Value, error) {
	for it := v.ElementIterator(); it.Next(); {
		if _, e := it.Element(); e.IsNull() {
			return v, errNull
		}
	}
	return v, nil
})

// kindDuration takes text such as "90s" and gives it as Go writes it.
var kindDuration = kind{func(v cty.Value) (cty.Value, error) {
	switch {
	case v.IsKnown() && v.IsNull():
		return v, errNull
	case v.Type() == cty.Number:
		return v, errors.New(`must be a duration with its unit, such as "90s", "5m" or "1h30m", not a number`)
	case v.Type() != cty.String && v.Type() != cty.DynamicPseudoType:
		return v, fmt.Errorf(`must be a duration such as "90s", "5m" or "1h30m", not %s`, friendlyType(v))
	case !v.IsKnown():
		return cty.UnknownVal(cty.String), nil
	}
	d, err := time.ParseDuration(v.AsString())
	if err != nil {
		return v, errors.New(`must be a duration such as "90s", "5m" or "1h30m"; the units are ns, us, ms, s, m and h`)
	}
	if d < 0 {
		return v, errors.New("must not be negative")
	}
	return cty.StringVal(d.String()), nil
}}

// duration reads what kindDuration gave.
func duration(v cty.Value) time.Duration {
	d, _ := time.ParseDuration(v.AsString()) // cannot fail: it was written by time.Duration
	return d
}

// kindWhole takes a whole number within limits.
func kindWhole(lo, hi int) kind {
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	if hi == math.MaxInt32 {
		want = fmt.Sprintf("a whole number, at least %d", lo)
	}
	return typed(cty.Number, want, func(v cty.Value) (cty.Value, error) {
		if n, ok := whole(v); !ok || n < lo || n > hi {
			return v, fmt.Errorf("must be %s", want)
		}
		return v, nil
	})
}

// whole reads a known number that is a whole one.
func whole(v cty.Value) (int, bool) {
	n, acc := v.AsBigFloat().Int64()
	return int(n), acc == 0
}

var kindFraction = typed(cty.Number, "a number from 0 to 1", func(v cty.Value) (cty.Value, error) {
	if f, _ := v.AsBigFloat().Float64(); f < 0 || f > 1 {
		return v, errors.New("must be a number from 0 to 1")
	}
	return v, nil
})

// kindWord takes one of a few words.
func kindWord[T ~string](words ...T) kind {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = strconv.Quote(string(w))
	}
	want := either(names...)
	return typed(cty.String, want, func(v cty.Value) (cty.Value, error) {
		if slices.Contains(words, T(v.AsString())) {
			return v, nil
		}
		plain := make([]string, len(words))
		for i, w := range words {
			plain[i] = string(w)
		}
		return v, fmt.Errorf("must be %s.%s", want, didYouMean(v.AsString(), plain))
	})
}

const wantMinSuccess = `a whole number, at least 1, or a percentage such as "80%"`

// kindMinSuccess takes a number of instances or a percentage.
var kindMinSuccess = kind{func(v cty.Value) (cty.Value, error) {
	switch {
	case v.IsKnown() && v.IsNull():
		return v, errNull
	case v.Type() != cty.Number && v.Type() != cty.String && v.Type() != cty.DynamicPseudoType:
		return v, fmt.Errorf("must be %s, not %s", wantMinSuccess, friendlyType(v))
	case !v.IsKnown():
		return v, nil
	}
	if _, ok := minSuccess(v); !ok {
		return v, errors.New("must be " + wantMinSuccess)
	}
	return v, nil
}}

func minSuccess(v cty.Value) (workflow.MinSuccess, bool) {
	if v.Type() == cty.Number {
		n, ok := whole(v)
		return workflow.MinSuccess{Number: n}, ok && n >= 1 && n <= workflow.MaxInstances
	}
	digits, ok := strings.CutSuffix(v.AsString(), "%")
	if !ok {
		return workflow.MinSuccess{}, false
	}
	p, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	return workflow.MinSuccess{Percent: p}, err == nil && p > 0 && p <= 100
}

// kindExitCodes takes a list of exit codes.
var kindExitCodes = typed(cty.List(cty.Number), "a list of exit codes, whole numbers from 0 to 255", func(v cty.Value) (cty.Value, error) {
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if e.IsNull() {
			return v, errNull
		}
		if n, ok := whole(e); !ok || n < 0 || n > 255 {
			return v, errors.New("must be a list of exit codes, whole numbers from 0 to 255")
		}
	}
	return v, nil
})

const wantForEach = "must be a map, a set of strings such as toset([…]), or a list together with `key`"

// kindForEach takes what the instances of a task are made of; listed says that the task writes `key`.
func kindForEach(listed bool) kind {
	return kind{func(v cty.Value) (cty.Value, error) {
		ty := v.Type()
		switch {
		case v.IsKnown() && v.IsNull():
			return v, errNull
		case ty == cty.DynamicPseudoType:
			return v, nil
		case listed && (ty.IsListType() || ty.IsTupleType() || ty.IsSetType()):
			return v, nil
		case listed:
			return v, fmt.Errorf("must be a list, because the task writes `key`; the keys of a map and the strings of a set are keys already. It is %s: leave `key` out", friendlyType(v))
		case ty.IsMapType() || ty.IsObjectType():
			return v, keysFit(v)
		case ty.IsSetType() && (ty.ElementType() == cty.String || ty.ElementType() == cty.DynamicPseudoType):
			return v, keysFit(v)
		case ty.IsSetType():
			return v, fmt.Errorf("%s. It is %s: convert its elements to text, or make it a list", wantForEach, friendlyType(v))
		case ty.IsListType() || ty.IsTupleType():
			return v, errors.New("is a list, whose elements have no names: write `key = <expression over each.value>` beside it, or toset(…) around it")
		}
		return v, fmt.Errorf("%s. It is %s", wantForEach, friendlyType(v))
	}}
}

// keysFit checks the keys of a known map or set.
func keysFit(v cty.Value) error {
	if !v.IsKnown() {
		return nil
	}
	for it := v.ElementIterator(); it.Next(); {
		k, _ := it.Element()
		if !k.IsKnown() {
			continue
		}
		if k.IsNull() {
			return errors.New("holds null; each key must be text")
		}
		if err := keyFits(k.AsString()); err != nil {
			return err
		}
	}
	return nil
}

func keyFits(key string) error {
	switch {
	case key == "":
		return errors.New("gives an empty key; a key names its instance and needs at least one character")
	case len(key) > workflow.MaxKeyBytes:
		return fmt.Errorf("gives a key of %d bytes; at most %d are allowed", len(key), workflow.MaxKeyBytes)
	}
	return nil
}

// kindKey takes the key of a list's element: text, or a number written as text.
var kindKey = typed(cty.String, "text or a number", func(v cty.Value) (cty.Value, error) { return v, keyFits(v.AsString()) })
