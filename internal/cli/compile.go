// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// compile reads and checks a workflow and reports what it finds. Without a definition the exit code says why. With asJSON
// errors are a document on standard output; warnings are for people only, as the document of the command follows.
func (a *App) compile(path, name string, asJSON bool) (source, *workflow.Definition, *hcl.Evaluator, int) {
	s, diags := load(path)
	var def *workflow.Definition
	var eval *hcl.Evaluator
	if !diags.HasErrors() {
		var more hcl.Diagnostics
		def, eval, more = hcl.CompileAndOpen(s.files, name)
		if more.HasErrors() && name == "" {
			if names := hcl.Workflows(s.files); len(names) > 1 {
				more = hcl.Diagnostics{{
					Severity: hcl.SeverityError,
					Summary:  "Several workflows",
					Detail:   fmt.Sprintf("%s declares %s. Name one of them with -workflow.", path, strings.Join(names, ", ")),
				}}
			}
		}
		diags = append(diags, more...)
	}
	if diags.HasErrors() {
		a.report(s, diags, asJSON)
		return s, nil, nil, exitUsage
	}
	a.report(s, diags, false)
	return s, def, eval, exitOK
}

// params collects -param and -param-file. Later ones win over earlier ones; -param wins over every file.
type params struct {
	texts []param
	files []string
}

type param struct{ name, text string }

func (p *params) options(a *App) []option {
	return []option{
		predicted(funcOption("param", "NAME=VALUE", `Set a param. A param of type string takes the text as it is, any other an HCL expression:
-param day=2026-01-31 -param 'regions=["eu", "us"]'. May be repeated.`, func(text string) error {
			name, value, ok := strings.Cut(text, "=")
			if !ok || name == "" {
				return fmt.Errorf("-param %s: want NAME=VALUE", text)
			}
			p.texts = append(p.texts, param{name, value})
			return nil
		}), a.predictParams()),
		predicted(funcOption("param-file", "FILE", `Read params from FILE: one NAME = VALUE a line, as in HCL, or a JSON object if its name ends in .json.
May be repeated; -param wins over it.`, func(path string) error {
			p.files = append(p.files, path)
			return nil
		}), complete.PredictFiles("*")),
	}
}

// maxParamFile bounds a file of params: more would be refused anyway, with the number.
const maxParamFile = 8 << 20

// given reads the files and puts the texts above them. Diagnostics are about the files.
func (p *params) given() (map[string]hcl.Given, source, hcl.Diagnostics) {
	out := map[string]hcl.Given{}
	s := source{}
	var diags hcl.Diagnostics
	for _, path := range p.files {
		b, err := hcl.ReadFile(path, maxParamFile)
		if err != nil {
			diags = append(diags, hcl.Diagnostic{
				Severity: hcl.SeverityError,
				Summary:  "Param file cannot be read",
				Detail:   err.Error() + ".",
			})
			continue
		}
		s.files = append(s.files, workflow.File{Path: path, Bytes: b})
		values, found := hcl.ParamFile(path, b)
		diags = append(diags, found...)
		for name, v := range values {
			out[name] = v
		}
	}
	for _, t := range p.texts {
		out[t.name] = hcl.Given{Text: t.text}
	}
	return out, s, diags
}

// over puts the files of another source beside those of this one, for quoting.
func (s source) over(other source) source {
	s.files = append(append([]workflow.File{}, s.files...), other.files...)
	return s
}

// compileAll compiles the workflow of a name, or all of them.
func compileAll(files []workflow.File, name string) ([]*workflow.Definition, hcl.Diagnostics) {
	if name == "" {
		return hcl.CompileAll(files)
	}
	def, diags := hcl.Compile(files, name)
	return []*workflow.Definition{def}, diags
}
