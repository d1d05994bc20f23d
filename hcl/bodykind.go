// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// The kinds here are those of the attributes of bodies. As everywhere, their errors never hold a value.

// kindTexts takes a list of text.
var kindTexts = typed(cty.List(cty.String), `a list of text such as ["a", "b"]`, func(v cty.Value) (cty.Value, error) {
	for it := v.ElementIterator(); it.Next(); {
		if _, e := it.Element(); e.IsNull() {
			return v, errNull
		}
	}
	return v, nil
})

// kindJobName takes the ID of a job that exists.
var kindJobName = typed(cty.String, "the ID of a job", func(v cty.Value) (cty.Value, error) {
	if s := v.AsString(); s == "" || strings.ContainsAny(s, " \t\n\x00") {
		return v, errors.New("must be the ID of a job: at least one character, without spaces")
	}
	return v, nil
})

// kindSized takes text of a limited size.
func kindSized(limit int) kind {
	sized := typed(cty.String, "text", func(v cty.Value) (cty.Value, error) {
		if n := len(v.AsString()); n > limit {
			return v, fmt.Errorf("has %d bytes, at most %d are allowed. Put large data where it can be read, and pass its name", n, limit)
		}
		return v, nil
	})
	return kind{func(v cty.Value) (cty.Value, error) {
		out, err := sized.convert(v)
		if ty := v.Type(); err != nil && ty != cty.DynamicPseudoType && !ty.IsPrimitiveType() {
			err = fmt.Errorf("%w. Write jsonencode(…) around it", err)
		}
		return out, err
	}}
}

// kindNames takes values by name, of text only or of anything.
func kindNames(what string, textOnly bool) kind {
	return kind{func(v cty.Value) (cty.Value, error) {
		ty := v.Type()
		switch {
		case v.IsKnown() && v.IsNull():
			return v, errNull
		case ty == cty.DynamicPseudoType:
			return v, nil
		case !ty.IsObjectType() && !ty.IsMapType():
			return v, fmt.Errorf("must be %s by name, such as { day = param.day }, not %s", what, friendlyType(v))
		case !textOnly:
			return v, nil
		}
		return kindTextMap.convert(v)
	}}
}

var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// kindMethod takes a method in any case and gives it in capitals.
var kindMethod = typed(cty.String, "a method such as \"GET\" or \"POST\"", func(v cty.Value) (cty.Value, error) {
	method := strings.ToUpper(v.AsString())
	if !slices.Contains(httpMethods, method) {
		return v, fmt.Errorf("must be one of %s.%s", either(httpMethods...), didYouMean(method, httpMethods))
	}
	return cty.StringVal(method), nil
})

var kindURL = kind{func(v cty.Value) (cty.Value, error) {
	v, err := kindText.convert(v)
	if err != nil {
		return v, err
	}
	if !v.IsKnown() {
		// The beginning of a text may be known though its end is not.
		prefix := v.Range().StringPrefix()
		if scheme, _, ok := strings.Cut(prefix, ":"); ok && !webScheme(scheme) {
			return v, errScheme
		}
		return v, nil
	}
	u, err := url.Parse(v.AsString())
	switch {
	case err != nil:
		return v, errors.New("must be a URL such as \"https://example.com/load\"; what is written cannot be read as one")
	case !webScheme(u.Scheme):
		return v, errScheme
	case u.Hostname() == "":
		return v, errors.New("must name a host, such as \"https://example.com/load\"")
	case u.User != nil:
		return v, errors.New("must not hold a user and password, which URLs show everywhere. Write headers = { Authorization = … }")
	}
	return v, nil
}}

var errScheme = errors.New("must begin with http:// or https://")

func webScheme(s string) bool { return strings.EqualFold(s, "http") || strings.EqualFold(s, "https") }

// kindHeaders takes header fields by name.
var kindHeaders = kind{func(v cty.Value) (cty.Value, error) {
	v, err := kindNames("headers", true).convert(v)
	if err != nil || !v.IsWhollyKnown() || v.IsNull() {
		return v, err
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		name, value := k.AsString(), e.AsString()
		switch {
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !headerRune(r) }):
			return v, fmt.Errorf("has the header %q, and a name of a header is letters, digits and hyphens", shorten(name))
		case strings.EqualFold(name, "Idempotency-Key"):
			return v, errors.New("has the header Idempotency-Key, which Cairn sends itself: the ID of the attempt. Leave it out")
		case strings.EqualFold(name, "Host") || strings.EqualFold(name, "Content-Length"):
			return v, fmt.Errorf("has the header %s, which follows from url and body. Leave it out", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return v, fmt.Errorf("has a line break or another control character in the header %s", name)
		}
	}
	return v, nil
}}

func headerRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// kindStatusCodes takes one status code or a list of them.
var kindStatusCodes = kind{func(v cty.Value) (cty.Value, error) {
	const want = "a status code from 100 to 599, or a list of them"
	if v.IsKnown() && v.IsNull() {
		return v, errNull
	}
	if v.Type() == cty.Number {
		v = cty.ListVal([]cty.Value{v})
	}
	list, err := convert.Convert(v, cty.List(cty.Number))
	if err != nil {
		return v, fmt.Errorf("must be %s, not %s", want, friendlyType(v))
	}
	if !list.IsWhollyKnown() {
		return list, nil
	}
	if list.LengthInt() == 0 {
		return v, fmt.Errorf("must be %s; leave it out for any from 200 to 299", want)
	}
	for it := list.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if e.IsNull() {
			return v, errNull
		}
		if n, ok := whole(e); !ok || n < 100 || n > 599 {
			return v, errors.New("must be " + want)
		}
	}
	return list, nil
}}

var kindHTTPTimeout = kind{func(v cty.Value) (cty.Value, error) {
	v, err := kindDuration.convert(v)
	if err != nil || !v.IsKnown() {
		return v, err
	}
	if d := duration(v); d <= 0 || d > workflow.MaxHTTPTimeout {
		return v, fmt.Errorf("must be more than nothing and at most %s: the server that acts waits for the answer. Start long work with one call, and ask for its end with wait and another", workflow.MaxHTTPTimeout)
	}
	return v, nil
}}

// kindMoment takes a time in RFC 3339.
var kindMoment = typed(cty.String, `a moment such as "2026-01-31T06:00:00Z"`, func(v cty.Value) (cty.Value, error) {
	t, err := time.Parse(time.RFC3339Nano, v.AsString())
	if err != nil {
		return v, errors.New(`must be a moment with its zone, such as "2026-01-31T06:00:00Z" (RFC 3339)`)
	}
	if t.Year() < 1970 || t.Year() > 2200 {
		return v, errors.New("must lie between the years 1970 and 2200")
	}
	return v, nil
})

// moment reads what kindMoment gave.
func moment(v cty.Value) workflow.Time {
	t, _ := time.Parse(time.RFC3339Nano, v.AsString()) // cannot fail: kindMoment read it
	return workflow.At(t)
}
