// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// value evaluates an expression. It is not ok if there is nothing to go on with: an error was reported. Where unknown values
// are allowed, the value may be unknown or contain such.
func (d *decoder) value(expr hclsyntax.Expression, ctx *hcl.EvalContext, name string) (v cty.Value, ok bool) {
	v, diags := expr.Value(ctx)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return v, false
	}
	if v.ContainsMarked() {
		v, _ = v.UnmarkDeep()
	}
	if v.IsWhollyKnown() {
		return v, true
	}
	d.unknown = true
	if !d.checking {
		d.errorf(expr, "Unknown value", "The value of %s is not known yet.", name)
	}
	return v, d.checking
}

// assign evaluates an argument, converts it to want and stores it in dst, a field or an element that f describes.
func (d *decoder) assign(expr hclsyntax.Expression, ctx *hcl.EvalContext, f *field, name string, want cty.Type, dst reflect.Value) {
	v, ok := d.value(expr, ctx, name)
	if !ok {
		return
	}
	elem := dst.Type()
	if elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	if elem == durationType {
		d.storeDuration(v, expr, name, dst)
		return
	}
	conv, err := convert.Convert(v, want)
	if err != nil {
		d.errorf(expr, "Wrong type of value", "%s: %s.", name, err)
		return
	}
	if !conv.IsWhollyKnown() {
		return
	}
	if err := setGo(dst, conv, d.text(f)); err != nil {
		d.errorf(expr, "Wrong value", "%s %s.", name, err)
	}
}

// writer turns evaluated text into what the job must say so that it arrives as it is.
type writer func(evaluated string) (string, error)

// text returns the writer of field f.
func (d *decoder) text(f *field) writer {
	switch {
	case d.verbatim:
		return func(s string) (string, error) { return s, nil }
	case f.reading == readsHCL:
		return func(s string) (string, error) { return clientText(s), nil }
	case f.reading == readsNothing:
		return func(s string) (string, error) { return plainText(s), nil }
	case f.reading == readsActions: // finishTemplate knows the delimiters
		return func(s string) (string, error) { return s, nil }
	case f.reading == readsNames:
		return func(s string) (string, error) {
			s = withoutActions(s)
			escaped := strings.ReplaceAll(s, "${", markDollar+"{NOMAD_META_"+dollarMeta+"}{")
			d.needsDollar = d.needsDollar || escaped != s
			return plainText(escaped), nil
		}
	}
	return func(s string) (string, error) {
		if strings.Contains(withoutActions(s), "${") {
			return "", fmt.Errorf("contains ${ that comes from data: Nomad would read it as a reference, and knows no escape here")
		}
		return plainText(s), nil
	}
}

// storeDuration takes text such as "90s", or a number of nanoseconds.
func (d *decoder) storeDuration(v cty.Value, expr hclsyntax.Expression, name string, dst reflect.Value) {
	ty := v.Type()
	switch {
	case ty != cty.String && ty != cty.Number && ty != cty.DynamicPseudoType:
		d.errorf(expr, "Wrong type of value", `%s is a duration: write text such as "90s", not %s.`, name, ty.FriendlyName())
		return
	case !v.IsKnown():
		return
	case v.IsNull():
		d.errorf(expr, "Wrong value", "%s is null; leave it out, or write a duration such as \"90s\".", name)
		return
	}
	var dur time.Duration
	if ty == cty.String {
		parsed, err := time.ParseDuration(v.AsString())
		if err != nil {
			d.errorf(expr, "Wrong value", `%s is a duration such as "90s" or "1h30m", not %q.`, name, plainText(v.AsString()))
			return
		}
		dur = parsed
	} else {
		n, acc := v.AsBigFloat().Int64()
		if acc != 0 {
			d.errorf(expr, "Wrong value", "%s is a duration; as a number it counts whole nanoseconds.", name)
			return
		}
		dur = time.Duration(n)
	}
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.ValueOf(&dur))
		return
	}
	dst.SetInt(int64(dur))
}

// setGo stores a known value of the matching type. The error completes a sentence that begins with the name.
func setGo(dst reflect.Value, v cty.Value, text writer) error {
	if v.IsNull() {
		switch dst.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			dst.SetZero()
			return nil
		}
		return fmt.Errorf("is null where a value is needed")
	}
	switch dst.Kind() {
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		if err := setGo(p.Elem(), v, text); err != nil {
			return err
		}
		dst.Set(p)
	case reflect.String:
		s, err := text(v.AsString())
		if err != nil {
			return err
		}
		dst.SetString(s)
	case reflect.Bool:
		dst.SetBool(v.True())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, acc := v.AsBigFloat().Int64()
		if acc != 0 {
			return fmt.Errorf("must be a whole number")
		}
		if dst.OverflowInt(n) {
			return fmt.Errorf("is too large or too small: %d", n)
		}
		dst.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, acc := v.AsBigFloat().Uint64()
		if acc != 0 {
			return fmt.Errorf("must be a whole number, not negative")
		}
		if dst.OverflowUint(n) {
			return fmt.Errorf("is too large: %d", n)
		}
		dst.SetUint(n)
	case reflect.Slice:
		s := reflect.MakeSlice(dst.Type(), 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			s = reflect.Append(s, reflect.Zero(dst.Type().Elem()))
			if err := setGo(s.Index(s.Len()-1), e, text); err != nil {
				return fmt.Errorf("has an element that %w", err)
			}
		}
		dst.Set(s)
	case reflect.Map:
		m := reflect.MakeMapWithSize(dst.Type(), v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			ev := reflect.New(dst.Type().Elem()).Elem()
			if err := setGo(ev, e, text); err != nil {
				return fmt.Errorf("has a key %q whose value %w", k.AsString(), err)
			}
			m.SetMapIndex(reflect.ValueOf(plainText(k.AsString())).Convert(dst.Type().Key()), ev)
		}
		dst.Set(m)
	default:
		return fmt.Errorf("has the Go type %s, which this version cannot decode", dst.Type())
	}
	return nil
}

// freeValue turns a known value into plain Go: what encoding/json makes of text that says the same, but with whole
// numbers as integers.
func freeValue(v cty.Value, text writer) (any, error) {
	if v.IsNull() {
		return nil, nil
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		return text(v.AsString())
	case ty == cty.Bool:
		return v.True(), nil
	case ty == cty.Number:
		if n, acc := v.AsBigFloat().Int64(); acc == 0 {
			return n, nil
		}
		f, _ := v.AsBigFloat().Float64()
		if math.IsInf(f, 0) {
			return nil, fmt.Errorf("is a number that is too large")
		}
		return f, nil
	case ty.IsListType(), ty.IsSetType(), ty.IsTupleType():
		out := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			ev, err := freeValue(e, text)
			if err != nil {
				return nil, err
			}
			out = append(out, ev)
		}
		return out, nil
	case ty.IsMapType(), ty.IsObjectType():
		out := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			ev, err := freeValue(e, text)
			if err != nil {
				return nil, err
			}
			key, err := text(k.AsString())
			if err != nil {
				return nil, err
			}
			out[key] = ev
		}
		return out, nil
	}
	return nil, fmt.Errorf("has a type that a job cannot hold (%s)", ty.FriendlyName())
}
