// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// jobExtension is how Nomad users name job files.
const jobExtension = ".nomad.hcl"

// reading is what a file that is named is read as.
type reading int

const (
	asData     reading = iota // text or bytes
	asTemplate                // by templatefile: it may name further files
	asJob                     // a Nomad job file: it may name further files
	asWorkflow                // a file of a workflow
	asEntry                   // what run_workflow names: a file or folder of a workflow
)

// mention is one place where a file names another.
type mention struct {
	path string // below the workflow's folder
	as   reading
	at   hcl.Range
}

// errOutside says of a path that it does not stay where it may read.
var errOutside = errors.New("leads out of the workflow's folder. Files are read below it only: put the file there")

// resolve is a path as written in a file of folder dir, as a path below the workflow's folder.
func resolve(dir, written string) (string, error) {
	switch {
	case written == "":
		return "", errors.New("is empty: write the name of a file")
	case path.IsAbs(written) || strings.HasPrefix(written, "~"):
		return "", errors.New("is absolute. Files are read below the workflow's folder only: put the file there and write its path from there")
	case strings.ContainsAny(written, "\\\x00"):
		return "", errors.New("has a character that no path may hold: write slashes between its parts")
	}
	joined := path.Join(dir, written)
	if !fs.ValidPath(joined) {
		return "", errOutside
	}
	return joined, nil
}

// dependsError is a path that is not constant: what it depends on.
type dependsError string

func (e dependsError) Error() string {
	return "it is read when the workflow is submitted, once, so its path cannot depend on " + string(e)
}

// constantPath evaluates the path that a call or an argument names. The error says why it cannot be one.
func constantPath(expr hclsyntax.Expression) (string, error) {
	if needs := jobspec.Variables(expr); len(needs) > 0 {
		if needs[0].RootName() == "path" {
			return "", fmt.Errorf("paths are taken from the folder of the file they stand in: leave %s out", traversalText(needs[0]))
		}
		return "", dependsError(traversalText(needs[0]))
	}
	v, diags := expr.Value(&hcl.EvalContext{Functions: functionsWithoutFiles()})
	if diags.HasErrors() {
		return "", errors.New("its path cannot be evaluated: " + lowerFirst(strings.TrimSuffix(diags[0].Detail, ".")))
	}
	v, _ = v.UnmarkDeep()
	if v.Type() != cty.String || v.IsNull() || !v.IsKnown() {
		return "", fmt.Errorf("a path is text, not %s", friendlyType(v))
	}
	return v.AsString(), nil
}

// calls finds the calls of functions that read files.
func calls(node hclsyntax.Node, visit func(*hclsyntax.FunctionCallExpr)) {
	hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // the visitor returns none
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && readers[call.Name] && len(call.Args) > 0 {
			visit(call)
		}
		return nil
	})
}

// mayRead is a quick look at whether a file can call such a function: nearly none does.
func mayRead(src []byte) bool { return bytes.Contains(src, []byte("file")) }

// mentions lists the files that a file names, as far as their paths are right.
func mentions(name string, src []byte, as reading) []mention {
	if as == asData || !mayRead(src) && !bytes.Contains(src, []byte("source")) {
		return nil
	}
	file := workflow.File{Path: name, Bytes: src}
	if _, bad := notText(file); bad {
		return nil
	}
	if _, deep := tooDeep(file); deep {
		return nil
	}
	var node hclsyntax.Node
	if as == asTemplate {
		node, _ = hclsyntax.ParseTemplate(src, name, hcl.InitialPos)
	} else if parsed, _ := hclsyntax.ParseConfig(src, name, hcl.InitialPos); parsed != nil {
		node = parsed.Body.(*hclsyntax.Body)
	}
	if node == nil {
		return nil
	}
	dir := path.Dir(name)
	var out []mention
	note := func(expr hclsyntax.Expression, as reading) {
		if written, err := constantPath(expr); err == nil {
			if at, err := resolve(dir, written); err == nil {
				out = append(out, mention{at, as, expr.Range()})
			}
		}
	}
	calls(node, func(call *hclsyntax.FunctionCallExpr) {
		if call.Name == "templatefile" {
			note(call.Args[0], asTemplate)
		} else {
			note(call.Args[0], asData)
		}
	})
	if body, ok := node.(*hclsyntax.Body); ok && as == asWorkflow {
		sources(body, note)
	}
	return out
}

// sources finds what the job and run_workflow bodies of a file name.
func sources(file *hclsyntax.Body, note func(hclsyntax.Expression, reading)) {
	for _, wf := range file.Blocks {
		for _, task := range wf.Body.Blocks {
			if wf.Type != "workflow" || task.Type != "task" && task.Type != "finally" {
				continue
			}
			for _, body := range task.Body.Blocks {
				attr := body.Body.Attributes["source"]
				switch {
				case attr == nil:
				case body.Type == string(workflow.BodyJob):
					note(attr.Expr, asJob)
				case body.Type == string(workflow.BodyRunWorkflow):
					note(attr.Expr, asEntry)
				}
			}
		}
	}
}

// shelf is where named files are looked for: on disk, or in a definition.
type shelf interface {
	// read returns fs.ErrNotExist for a file that is not there, and another error for one that may not be read.
	read(name string, limit int64) ([]byte, error)
	// folder lists the files of a workflow in a folder.
	folder(name string) (own []string, ok bool)
}

// gatherer collects files and the files they name. What is not there is left to Compile, which knows how to say so; what
// cannot be read is a finding.
type gatherer struct {
	shelf shelf
	files map[string]workflow.File
	named int // how many were looked for
	left  int64
	findings
}

// gather collects the files of a workflow and everything they name.
func (g *gatherer) gather(own []string) {
	type step struct {
		name string
		as   reading
	}
	queue, seen := make([]step, 0, len(own)), map[step]bool{}
	push := func(s step) {
		if !seen[s] {
			seen[s] = true
			queue = append(queue, s)
		}
	}
	for _, name := range own {
		if !g.take(name, mention{}) {
			continue
		}
		file := g.files[name]
		file.Named = false
		g.files[name] = file
		push(step{name, asWorkflow})
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, m := range mentions(s.name, g.files[s.name].Bytes, s.as) {
			if m.as != asEntry {
				if g.take(m.path, m) {
					push(step{m.path, m.as})
				}
				continue
			}
			files, isFolder := g.shelf.folder(m.path)
			if !isFolder {
				files = []string{m.path}
			}
			for _, name := range files {
				if g.take(name, m) {
					push(step{name, asWorkflow})
				}
			}
		}
	}
}

// take reads a file, once.
func (g *gatherer) take(name string, by mention) bool {
	if _, ok := g.files[name]; ok {
		return true
	}
	if g.named++; g.named > workflow.MaxNamedFiles && by.path != "" {
		if !g.covers(rangeOf(by.at)) {
			g.errorf(by.at, "Too many files", "A workflow may name %d files. Put data where the tasks can read it, and pass its name.", workflow.MaxNamedFiles)
		}
		return false
	}
	b, err := g.shelf.read(name, g.left)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		g.errorf(by.at, "Cannot read a file", "%s: %s.", name, strings.TrimSuffix(err.Error(), "."))
		return false
	}
	g.left -= int64(len(b))
	g.files[name] = workflow.File{Path: name, Bytes: b, Named: true}
	return true
}

func (g *gatherer) sorted() []workflow.File {
	out := make([]workflow.File, 0, len(g.files))
	for _, file := range g.files {
		out = append(out, file)
	}
	slices.SortFunc(out, func(a, b workflow.File) int { return strings.Compare(a.Path, b.Path) })
	return out
}
