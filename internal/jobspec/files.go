// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/go-cty-funcs/filesystem"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// FileReader gives the bytes of a file by its path below the definition's folder, written with slashes. An error that wraps
// fs.ErrNotExist says that there is no such file. It may be called whenever a body is evaluated, by several goroutines at once.
type FileReader func(path string) ([]byte, error)

// FileFunctions are those of Nomad's job files that have to do with files. Names are relative to dir, a folder below the
// definition's own, with slashes, and may not lead out of that. Nothing but read is asked, so that what depends on the machine
// (its folders, somebody's home) is an error.
func FileFunctions(dir string, read FileReader) map[string]function.Function {
	return map[string]function.Function{
		"basename": filesystem.BasenameFunc, "dirname": filesystem.DirnameFunc,
		"file": pathFunc(cty.String, func(name string) (cty.Value, error) {
			src, err := readNamed(dir, name, read)
			if err == nil && !utf8.Valid(src) {
				err = fmt.Errorf("%s is not UTF-8 text; filebase64 reads any file", name)
			}
			return cty.StringVal(string(src)), err
		}),
		"filebase64": pathFunc(cty.String, func(name string) (cty.Value, error) {
			src, err := readNamed(dir, name, read)
			return cty.StringVal(base64.StdEncoding.EncodeToString(src)), err
		}),
		"fileexists": pathFunc(cty.Bool, func(name string) (cty.Value, error) {
			_, err := readNamed(dir, name, read)
			if errors.Is(err, fs.ErrNotExist) {
				return cty.False, nil
			}
			return cty.True, err
		}),
		"abspath": pathFunc(cty.String, func(name string) (cty.Value, error) {
			if !path.IsAbs(name) {
				return cty.NilVal, errors.New("a workflow is evaluated on any server, so there is no working folder that it could be relative to")
			}
			return cty.StringVal(path.Clean(name)), nil
		}),
		"pathexpand": pathFunc(cty.String, func(name string) (cty.Value, error) {
			if strings.HasPrefix(name, "~") {
				return cty.NilVal, errors.New("a workflow is evaluated on any server, so there is no home folder")
			}
			return cty.StringVal(name), nil
		}),
		"fileset": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "pattern", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Set(cty.String)),
			Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
				return cty.NilVal, errors.New("a definition holds the files that are named one by one, and no folders to list. Write their names out")
			},
		}),
	}
}

// AllFunctions are those that a job file in dir may call: Functions and FileFunctions.
func AllFunctions(dir string, read FileReader) map[string]function.Function {
	all := Functions()
	maps.Copy(all, FileFunctions(dir, read))
	return all
}

// TemplateFile is templatefile(path, vars), which Nomad's job files do not have: the text of the file with ${…} and %{…} in
// it evaluated, given vars and functions. With forBody, what it gives is as safe in a body as text that the author wrote there: it
// belongs beside the functions that Guard gives, the other one beside those that were given to Guard.
func TemplateFile(dir string, read FileReader, functions map[string]function.Function, forBody bool) function.Function {
	callable := maps.Clone(functions)
	delete(callable, "templatefile") // a file that includes itself would never end
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name, vars := args[0].AsString(), args[1]
			if ty := vars.Type(); vars.IsNull() || !ty.IsObjectType() && !ty.IsMapType() {
				return cty.NilVal, errors.New("its second argument is a map of values: templatefile(\"x.tpl\", { name = value })")
			}
			src, err := readNamed(dir, name, read)
			if err != nil {
				return cty.NilVal, err
			}
			expr, diags := hclsyntax.ParseTemplate(src, name, hcl.InitialPos)
			if diags.HasErrors() {
				return cty.NilVal, diags
			}
			values := vars.AsValueMap()
			if forBody {
				known := make(map[string]bool, len(values))
				for n := range values {
					known[n] = true
				}
				expr, diags = RewriteExpr(expr, Options{
					Sources: map[string][]byte{name: src}, Known: known,
					Tainted: func(t hcl.Traversal) bool { return known[t.RootName()] && CarriesTemplate(values[t.RootName()]) },
				})
				if diags.HasErrors() {
					return cty.NilVal, diags
				}
			}
			v, diags := expr.Value(&hcl.EvalContext{Variables: values, Functions: callable})
			if diags.HasErrors() {
				return cty.NilVal, diags
			}
			if !v.IsKnown() {
				return cty.UnknownVal(cty.String), nil
			}
			return convertVariable(v, cty.String)
		},
	})
}

func pathFunc(result cty.Type, impl func(name string) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(result),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return impl(args[0].AsString())
		},
	})
}

// fileBelow is the path below the definition's folder of a file that is named in dir.
func fileBelow(dir, name string) (string, error) {
	joined := path.Join(dir, name)
	switch {
	case name == "" || path.Clean(name) == ".":
		return "", errors.New("the path names no file")
	case path.IsAbs(name) || strings.HasPrefix(name, "~"), joined == "..", strings.HasPrefix(joined, "../"):
		return "", fmt.Errorf("%q is outside of the workflow's folder; a workflow reads the files below it only", name)
	}
	return joined, nil
}

func readNamed(dir, name string, read FileReader) ([]byte, error) {
	below, err := fileBelow(dir, name)
	if err != nil {
		return nil, err
	}
	src, err := read(below)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s in the workflow's folder: %w", below, fs.ErrNotExist)
	}
	return src, err
}

// NamedFile is a file that an expression reads.
type NamedFile struct {
	Path     string // below the definition's folder, with slashes
	Optional bool   // it is only asked whether it exists
	Range    hcl.Range
}

// fileArguments are the functions whose first argument is the path of a file.
var fileArguments = []string{"file", "filebase64", "fileexists", "templatefile"}

// NamedFiles lists what the expressions of nodes in a file of folder dir read, each once, by path. A definition carries the
// bytes of these files, so a path that is not constant is an error.
func NamedFiles(dir string, nodes ...hclsyntax.Node) ([]NamedFile, hcl.Diagnostics) {
	byPath := map[string]NamedFile{}
	visit := func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		if !ok || !slices.Contains(fileArguments, call.Name) || len(call.Args) == 0 {
			return nil
		}
		at := call.Args[0].Range()
		v, diags := call.Args[0].Value(nil)
		if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
			return errorAt(at, "Path is not constant", "The path that %s reads must be plain text without references: the files of a workflow are collected "+
				"before anything is evaluated.", call.Name)
		}
		below, err := fileBelow(dir, v.AsString())
		if err != nil {
			return errorAt(at, "No such file", "%s: %s.", call.Name, err)
		}
		file := NamedFile{Path: below, Optional: call.Name == "fileexists", Range: at}
		if known, ok := byPath[below]; !ok || known.Optional && !file.Optional {
			byPath[below] = file
		}
		return nil
	}
	var diags hcl.Diagnostics
	for _, n := range nodes {
		diags = append(diags, hclsyntax.VisitAll(n, visit)...)
	}
	files := slices.SortedFunc(maps.Values(byPath), func(a, b NamedFile) int { return cmp.Compare(a.Path, b.Path) })
	return files, sorted(diags)
}
