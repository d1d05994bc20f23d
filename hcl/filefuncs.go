// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// The functions here read the files of a definition, never the disk: what they give is fixed when a workflow is submitted.

// readers are the functions whose first argument is a path.
var readers = map[string]bool{
	"file": true, "filebase64": true, "fileexists": true, "filemd5": true, "filesha1": true, "filesha256": true, "filesha512": true,
	"filebase64sha256": true, "filebase64sha512": true, "templatefile": true,
}

// pure are the functions that read no file, for either mode. They are made once: there are a hundred of them.
var pure = [2]func() map[string]function.Function{
	forValue: sync.OnceValue(functions),
	forBody:  sync.OnceValue(func() map[string]function.Function { return jobspec.Guard(functions()) }),
}

// functionsWithoutFiles are the functions for expressions that stand in no file of a workflow.
var functionsWithoutFiles = sync.OnceValue(func() map[string]function.Function {
	all := maps.Clone(pure[forValue]())
	for name := range readers {
		all[name] = refusedFunc("it reads the files of a workflow, and this is not in one")
	}
	return all
})

// maxRendered bounds what templatefile gives: templates may loop.
const maxRendered = 4 << 20

// shelfView is what the readers of one folder see, in one mode.
type shelfView struct {
	bundle *bundle
	dir    string
	mode   mode
}

// functionsIn are all functions as the files of a folder see them. What file reads is as if its author had written it where it
// is read, so that a template block of Nomad's may stand in a file; what comes from data stays data in it.
func functionsIn(b *bundle, dir string, m mode) map[string]function.Function {
	all := maps.Clone(pure[m]())
	view := shelfView{b, dir, m}
	readers := view.readers()
	if m == forBody {
		readers = jobspec.Guard(readers)
	}
	maps.Copy(all, readers)
	all["templatefile"] = view.templateFile(all)
	return all
}

// read finds a file.
func (s shelfView) read(v cty.Value) (content []byte, name string, err error) {
	name, err = resolve(s.dir, v.AsString())
	if err != nil {
		return nil, "", function.NewArgErrorf(0, "the path %s", err)
	}
	file, ok := s.bundle.files[name]
	if !ok {
		return nil, "", function.NewArgErrorf(0, "there is no file %s in the workflow's folder%s", name, orNear(name, s.bundle.names))
	}
	return file.Bytes, name, nil
}

// readText is read for text.
func (s shelfView) readText(v cty.Value) (text cty.Value, name string, err error) {
	content, name, err := s.read(v)
	switch {
	case err != nil:
		return cty.NilVal, name, err
	case !utf8.Valid(content):
		return cty.NilVal, name, function.NewArgErrorf(0, "%s is not text in UTF-8; filebase64 reads any file", name)
	}
	return cty.StringVal(string(content)), name, nil
}

func (s shelfView) readers() map[string]function.Function {
	digest := func(sum func([]byte) []byte, encode func([]byte) string) function.Function {
		return pathFunc(cty.String, func(v cty.Value) (cty.Value, error) {
			content, _, err := s.read(v)
			if err != nil {
				return cty.NilVal, err
			}
			return cty.StringVal(encode(sum(content))), nil
		})
	}
	base64Of := base64.StdEncoding.EncodeToString
	sum256 := func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	sum512 := func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
	return map[string]function.Function{
		"file": pathFunc(cty.String, func(v cty.Value) (cty.Value, error) {
			content, _, err := s.readText(v)
			return content, err
		}),
		"filebase64": digest(func(b []byte) []byte { return b }, base64Of),
		"fileexists": pathFunc(cty.Bool, func(v cty.Value) (cty.Value, error) {
			name, err := resolve(s.dir, v.AsString())
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "the path %s", err)
			}
			_, ok := s.bundle.files[name]
			return cty.BoolVal(ok), nil
		}),
		"filemd5":          digest(func(b []byte) []byte { s := md5.Sum(b); return s[:] }, hex.EncodeToString),
		"filesha1":         digest(func(b []byte) []byte { s := sha1.Sum(b); return s[:] }, hex.EncodeToString),
		"filesha256":       digest(sum256, hex.EncodeToString),
		"filesha512":       digest(sum512, hex.EncodeToString),
		"filebase64sha256": digest(sum256, base64Of),
		"filebase64sha512": digest(sum512, base64Of),
	}
}

// pathFunc is a function of one path.
func pathFunc(ty cty.Type, impl func(cty.Value) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{text("path")},
		Type:   function.StaticReturnType(ty),
		Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return impl(args[0]) },
	})
}

// templateFile renders a file as a template whose names are the elements of its second argument. It is tried even while they
// are unknown: most of what can be wrong with a template shows then.
func (s shelfView) templateFile(funcs map[string]function.Function) function.Function {
	render := func(args []cty.Value) (cty.Value, error) {
		vars, err := templateVars(args[1])
		if err != nil {
			return cty.NilVal, err
		}
		content, name, err := s.readText(args[0])
		if err != nil {
			return cty.NilVal, err
		}
		if err := checkTemplate(name, []byte(content.AsString()), vars); err != nil {
			return cty.NilVal, err
		}
		callable := funcs
		if dir := path.Dir(name); dir != s.dir {
			callable = functionsIn(s.bundle, dir, s.mode)
		}
		return s.rendered(name, callable, args[1])
	}
	return function.New(&function.Spec{
		Params: []function.Parameter{text("path"), dynamic("vars")},
		Type: func(args []cty.Value) (cty.Type, error) {
			if !args[0].IsKnown() || !args[1].IsKnown() {
				return cty.String, nil
			}
			_, err := render(args)
			return cty.String, err
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return render(args) },
	})
}

// rendered is the text of a template that was checked.
func (s shelfView) rendered(name string, callable map[string]function.Function, vars cty.Value) (cty.Value, error) {
	read := func(name string) ([]byte, error) { return s.bundle.read(name, 0) }
	v, err := jobspec.TemplateFile(".", read, callable, s.mode == forBody).Call([]cty.Value{cty.StringVal(name), vars})
	var diags hcl.Diagnostics
	switch {
	case errors.As(err, &diags):
		return cty.NilVal, templateError(diags)
	case err != nil:
		return cty.NilVal, err
	}
	if v.IsKnown() && !v.IsNull() && len(v.AsString()) > maxRendered {
		return cty.NilVal, fmt.Errorf("the result has more than %d bytes", maxRendered)
	}
	return v, nil
}

// templateVars are the names a template may use.
func templateVars(v cty.Value) (names []string, err error) {
	if ty := v.Type(); !ty.IsObjectType() && !ty.IsMapType() || v.IsNull() {
		return nil, function.NewArgErrorf(1, "the names of a template are a map such as { day = param.day }, not %s", friendlyType(v))
	}
	for it := v.ElementIterator(); it.Next(); {
		k, _ := it.Element()
		if !hclsyntax.ValidIdentifier(k.AsString()) {
			return nil, function.NewArgErrorf(1, "%q is no name: a name in a template begins with a letter and goes on with letters, digits, _ and -", shorten(k.AsString()))
		}
		names = append(names, k.AsString())
	}
	return names, nil
}

// checkTemplate reports what is wrong with a template whatever its names stand for.
func checkTemplate(name string, content []byte, names []string) error {
	file := workflow.File{Path: name, Bytes: content}
	if _, deep := tooDeep(file); deep {
		return function.NewArgErrorf(0, "%s is nested too deeply", name)
	}
	expr, diags := hclsyntax.ParseTemplate(content, name, hcl.InitialPos)
	if diags.HasErrors() {
		return templateError(diags)
	}
	for _, t := range jobspec.Variables(expr) {
		if !slices.Contains(names, t.RootName()) {
			return function.NewArgErrorf(1, "%s uses %s, which is not among the names given%s. For the text itself write $${…}",
				where(t.SourceRange()), t.RootName(), orNear(t.RootName(), names))
		}
	}
	var wrong error
	calls(expr, func(call *hclsyntax.FunctionCallExpr) {
		_, err := constantPath(call.Args[0])
		if call.Name == "templatefile" {
			err = errors.New("a template cannot render another one. Render both in the workflow and pass one to the other")
		}
		if err != nil && wrong == nil {
			wrong = function.NewArgErrorf(0, "%s%s: %s", place(rangeOf(call.Range())), call.Name, err)
		}
	})
	return wrong
}

// templateError is the first error of a template, with its place in it.
func templateError(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := ""
		if d.Subject != nil {
			at = place(rangeOf(*d.Subject))
		}
		return errors.New(at + strings.TrimSuffix(d.Detail, "."))
	}
	return errors.New("it cannot be rendered")
}

// orNear is didYouMean inside of a sentence.
func orNear(name string, names []string) string {
	if hint := didYouMean(name, names); hint != "" {
		return fmt.Sprintf(" (%s)", lowerFirst(strings.TrimSpace(hint)))
	}
	return ""
}
