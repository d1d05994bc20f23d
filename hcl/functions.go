// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/hashicorp/go-cty-funcs/filesystem"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/cairnflow/cairn/internal/jobspec"
)

// functions are what expressions may call: those of Nomad's job files, those that Terraform users miss there, and some for
// times. All give the same result for the same arguments, on every machine, at any time.
func functions() map[string]function.Function {
	all := jobspec.Functions()
	maps.Copy(all, map[string]function.Function{
		// collections
		"alltrue": allFunc(true), "anytrue": allFunc(false), "index": indexFunc, "length": lengthFunc, "matchkeys": matchKeysFunc, "one": oneFunc, "reverse": reverseFunc,
		"setproduct": boundedProductFunc, "setsubtract": stdlib.SetSubtractFunc, "setsymmetricdifference": stdlib.SetSymmetricDifferenceFunc,
		"sum": sumFunc, "transpose": transposeFunc, "values": valuesFunc,
		// text
		"endswith": testFunc(strings.HasSuffix), "format": boundedFormat(stdlib.FormatFunc), "formatlist": boundedFormat(stdlib.FormatListFunc),
		"indent": boundedIndentFunc, "regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc, "startswith": testFunc(strings.HasPrefix),
		"strcontains": testFunc(strings.Contains),
		// paths, as text
		"basename": filesystem.BasenameFunc, "dirname": filesystem.DirnameFunc,
		// types
		"tobool": stdlib.MakeToFunc(cty.Bool), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tonumber": stdlib.MakeToFunc(cty.Number),
		"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String),
		// encodings and hashes
		"base64sha256": hashFunc(func(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }),
		"base64sha512": hashFunc(func(s string) []byte { h := sha512.Sum512([]byte(s)); return h[:] }),
		"jsondecode":   jsonDecodeFunc, "yamldecode": boundedDecode(all["yamldecode"]), "urldecode": urlDecodeFunc,
		// sensitive values
		"issensitive": isSensitiveFunc, "nonsensitive": nonsensitiveFunc, "sensitive": sensitiveFunc,
		// time
		"formatdate": early(all["formatdate"], "YYYY", aTime), "timeadd": early(timeAddFunc, aTime, "1h"),
		"timeaddmonths": early(timeAddMonthsFunc, aTime, ""), "timecmp": early(timeCmpFunc, aTime, aTime), "timein": early(timeInFunc, aTime, "UTC"),
		"timetrunc": early(timeTruncFunc, aTime, "day", "UTC"), "weekday": weekdayFunc,
	})
	for name, why := range refusedFunctions {
		all[name] = refusedFunc(why)
	}
	return all
}

// aTime stands for a time that is not known yet.
const aTime = "2026-01-31T02:00:00Z"

const (
	whyClock  = "it would give another value each time. Use run.started_at or run.scheduled_at"
	whyRandom = "it would give another value each time. Use run.id, or a hash of it"
	whySalt   = "it would give another value each time. Use sha256(…), or compute it inside the task"
	whyFiles  = "which files there are may change unseen. Name each of them with file(…)"
	whyPaths  = "paths of this machine mean nothing on the worker. Compute it inside the task"
	whyLatin  = "all text here is UTF-8. Convert it inside the task"
	whyOld    = "it is gone from Terraform too. Write [ … ] or { … }, or tolist(…) and tomap(…)"
)

// refusedFunctions are names that people know from elsewhere, and why they are missing here.
var refusedFunctions = map[string]string{
	"bcrypt": whySalt, "uuid": whyRandom, "uuidv4": whyRandom, "timestamp": whyClock, "plantimestamp": whyClock,
	"fileset": whyFiles, "abspath": whyPaths, "pathexpand": whyPaths, "textencodebase64": whyLatin, "textdecodebase64": whyLatin,
	"list": whyOld, "map": whyOld,
	"base64gzip":      "compressed bytes differ between versions of the compressor. Compress inside the task",
	"templatestring":  "data would become a template. Write the template into a file and render it with templatefile(…)",
	"ephemeralasnull": "no value is ephemeral here. Leave it out",
	"type":            "it is for Terraform's console only. Use can(tonumber(…)) and the like",
}

// refusedFunc fails wherever it stands, even with unknown arguments.
func refusedFunc(why string) function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "args", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true},
		Type:     func([]cty.Value) (cty.Type, error) { return cty.NilType, errors.New(why) },
		Impl:     func([]cty.Value, cty.Type) (cty.Value, error) { return cty.NilVal, errors.New(why) },
	})
}

func dynamic(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.DynamicPseudoType}
}

func text(name string) function.Parameter { return function.Parameter{Name: name, Type: cty.String} }

// allFunc is alltrue (an element that is false decides) or anytrue (one that is true does).
func allFunc(neutral bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			unknown := false
			for it := args[0].ElementIterator(); it.Next(); {
				_, e := it.Element()
				switch {
				case !e.IsKnown():
					unknown = true
				case e.IsNull() && neutral, !e.IsNull() && e.True() != neutral:
					return cty.BoolVal(!neutral), nil
				}
			}
			if unknown {
				return cty.UnknownVal(cty.Bool), nil
			}
			return cty.BoolVal(neutral), nil
		},
	})
}

// sumFunc adds the numbers of a list or set. An empty one gives 0: a fan-out may be empty.
var sumFunc = function.New(&function.Spec{
	Params: []function.Parameter{dynamic("list")},
	Type: func(args []cty.Value) (cty.Type, error) {
		if ty := args[0].Type(); !ty.IsListType() && !ty.IsSetType() && !ty.IsTupleType() {
			return cty.NilType, function.NewArgErrorf(0, "a list or set of numbers is needed")
		}
		return cty.Number, nil
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		total := cty.Zero
		for it := args[0].ElementIterator(); it.Next(); {
			_, e := it.Element()
			n, err := convert.Convert(e, cty.Number)
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "an element is no number")
			}
			if n.IsKnown() && n.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "an element is null")
			}
			total = total.Add(n)
		}
		return total, nil
	},
})

// oneFunc gives the only element of a list, or null of an empty one.
var oneFunc = function.New(&function.Spec{
	Params: []function.Parameter{dynamic("list")},
	Type: func(args []cty.Value) (cty.Type, error) {
		ty := args[0].Type()
		switch {
		case ty.IsListType() || ty.IsSetType():
			return ty.ElementType(), nil
		case ty.IsTupleType() && ty.Length() == 0:
			return cty.DynamicPseudoType, nil
		case ty.IsTupleType() && ty.Length() == 1:
			return ty.TupleElementType(0), nil
		}
		return cty.NilType, function.NewArgErrorf(0, "a list or set of at most one element is needed")
	},
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		switch args[0].LengthInt() {
		case 0:
			return cty.NullVal(ty), nil
		case 1:
			for it := args[0].ElementIterator(); it.Next(); {
				_, e := it.Element()
				return e, nil
			}
		}
		return cty.NilVal, function.NewArgErrorf(0, "it has more than one element")
	},
})

// reverseFunc turns text around as Nomad's does, and lists as Terraform's does.
var reverseFunc = function.New(&function.Spec{
	Params: []function.Parameter{dynamic("value")},
	Type: func(args []cty.Value) (cty.Type, error) {
		ty := args[0].Type()
		if ty.IsListType() || ty.IsTupleType() || ty.IsSetType() {
			return stdlib.ReverseListFunc.ReturnTypeForValues(args)
		}
		if _, err := convert.Convert(args[0], cty.String); err != nil {
			return cty.NilType, function.NewArgErrorf(0, "text or a list is needed")
		}
		return cty.String, nil
	},
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		if ty != cty.String {
			return stdlib.ReverseListFunc.Call(args)
		}
		s, err := convert.Convert(args[0], cty.String)
		if err != nil {
			return cty.NilVal, err
		}
		return stdlib.Reverse(s)
	},
})

// matchKeysFunc gives the elements of the first list whose partner in the second occurs in the third.
var matchKeysFunc = function.New(&function.Spec{
	Params: []function.Parameter{
		{Name: "values", Type: cty.List(cty.DynamicPseudoType)},
		{Name: "keys", Type: cty.List(cty.DynamicPseudoType)},
		{Name: "wanted", Type: cty.List(cty.DynamicPseudoType)},
	},
	Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		if !args[0].IsWhollyKnown() || !args[1].IsWhollyKnown() || !args[2].IsWhollyKnown() {
			return cty.UnknownVal(ty), nil
		}
		values, keys := args[0].AsValueSlice(), args[1].AsValueSlice()
		if len(values) != len(keys) {
			return cty.NilVal, function.NewArgErrorf(1, "there must be as many keys as values")
		}
		var out []cty.Value
		for i, k := range keys {
			for it := args[2].ElementIterator(); it.Next(); {
				if _, w := it.Element(); w.RawEquals(k) {
					out = append(out, values[i])
					break
				}
			}
		}
		if len(out) == 0 {
			return cty.ListValEmpty(ty.ElementType()), nil
		}
		return cty.ListVal(out), nil
	},
})

// transposeFunc turns a map of lists of text around: each text becomes a key, with the keys it stood under.
var transposeFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "map", Type: cty.Map(cty.List(cty.String))}},
	Type:   function.StaticReturnType(cty.Map(cty.List(cty.String))),
	Impl: func(args []cty.Value, ty cty.Type) (cty.Value, error) {
		if !args[0].IsWhollyKnown() {
			return cty.UnknownVal(ty), nil
		}
		lists := map[string][]cty.Value{}
		for it := args[0].ElementIterator(); it.Next(); {
			k, list := it.Element()
			if list.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "a list is null")
			}
			for in := list.ElementIterator(); in.Next(); {
				_, e := in.Element()
				if e.IsNull() {
					return cty.NilVal, function.NewArgErrorf(0, "a list holds null")
				}
				lists[e.AsString()] = append(lists[e.AsString()], k)
			}
		}
		if len(lists) == 0 {
			return cty.MapValEmpty(ty.ElementType()), nil
		}
		out := make(map[string]cty.Value, len(lists))
		for k, l := range lists {
			out[k] = cty.ListVal(l)
		}
		return cty.MapVal(out), nil
	},
})

// testFunc is a question about two texts.
func testFunc(test func(s, sub string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{text("text"), text("part")},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(test(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

func hashFunc(hash func(string) []byte) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{text("text")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(base64.StdEncoding.EncodeToString(hash(args[0].AsString()))), nil
		},
	})
}

var urlDecodeFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("text")},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		s, err := url.QueryUnescape(args[0].AsString())
		if err != nil {
			return cty.NilVal, fmt.Errorf("not URL-encoded text")
		}
		return cty.StringVal(s), nil
	},
})

// marked is a parameter that may be anything and keeps its marks.
var marked = function.Parameter{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true}

var sensitiveFunc = function.New(&function.Spec{
	Params: []function.Parameter{marked},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0].Mark(sensitive), nil },
})

var nonsensitiveFunc = function.New(&function.Spec{
	Params: []function.Parameter{marked},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v, _ := args[0].UnmarkDeep()
		return v, nil
	},
})

var isSensitiveFunc = function.New(&function.Spec{
	Params: []function.Parameter{marked},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		return cty.BoolVal(args[0].ContainsMarked()), nil
	},
})

// lengthFunc counts the elements of a collection, as Nomad's does, and the characters of text, as Terraform's does too.
var lengthFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true, AllowMarked: true}},
	Type: func(args []cty.Value) (cty.Type, error) {
		ty := args[0].Type()
		if ty == cty.String || ty == cty.DynamicPseudoType || ty.IsTupleType() || ty.IsObjectType() || ty.IsCollectionType() {
			return cty.Number, nil
		}
		return cty.NilType, function.NewArgErrorf(0, "text, a list, a set, a map or an object is needed")
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v, marks := args[0].Unmark()
		switch ty := v.Type(); {
		case ty == cty.DynamicPseudoType:
			return cty.UnknownVal(cty.Number).WithMarks(marks), nil
		case ty == cty.String:
			n, err := stdlib.Strlen(v)
			return n.WithMarks(marks), err
		case ty.IsTupleType():
			return cty.NumberIntVal(int64(ty.Length())).WithMarks(marks), nil
		case ty.IsObjectType():
			return cty.NumberIntVal(int64(len(ty.AttributeTypes()))).WithMarks(marks), nil
		case !v.IsKnown():
			return cty.UnknownVal(cty.Number).WithMarks(marks), nil
		}
		return v.Length().WithMarks(marks), nil
	},
})

// indexFunc takes an element out, as Nomad's does; of a list, for what is no number, it gives the position, as Terraform's
// does.
var indexFunc = function.New(&function.Spec{
	Params: []function.Parameter{dynamic("collection"), dynamic("key")},
	Type: func(args []cty.Value) (cty.Type, error) {
		if seeks(args) {
			return cty.Number, nil
		}
		return stdlib.IndexFunc.ReturnTypeForValues(args)
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if !seeks(args) {
			return stdlib.IndexFunc.Call(args)
		}
		position := int64(0)
		for it := args[0].ElementIterator(); it.Next(); position++ {
			_, e := it.Element()
			same := e.Equals(args[1])
			if !same.IsKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			if same.True() {
				return cty.NumberIntVal(position), nil
			}
		}
		return cty.NilVal, function.NewArgErrorf(1, "it is not in the list")
	},
})

// seeks reports whether index looks for a value in a list.
func seeks(args []cty.Value) bool {
	of, key := args[0].Type(), args[1].Type()
	return (of.IsListType() || of.IsTupleType()) && key != cty.Number && key != cty.DynamicPseudoType
}

// valuesFunc gives the values of a map or an object in the order of its keys; of a list itself, since a task with count reads
// as one.
var valuesFunc = function.New(&function.Spec{
	Params: []function.Parameter{dynamic("collection")},
	Type: func(args []cty.Value) (cty.Type, error) {
		if ty := args[0].Type(); ty.IsListType() || ty.IsTupleType() {
			return ty, nil
		}
		return stdlib.ValuesFunc.ReturnTypeForValues(args)
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if ty := args[0].Type(); ty.IsListType() || ty.IsTupleType() {
			return args[0], nil
		}
		return stdlib.ValuesFunc.Call(args)
	},
})
