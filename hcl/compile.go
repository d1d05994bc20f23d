// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// languageVersion is part of a definition's hash: the same text may mean something else in another version.
const languageVersion = "cairn-language/1"

// DefaultNamespace is the Nomad namespace of a workflow that names none.
const DefaultNamespace = "default"

// DefaultPriority is the priority of a workflow that writes none: Nomad's own default.
const DefaultPriority = 50

// Compile parses and checks files and compiles the workflow of the given name; with the name "" the only one. Without errors
// among the diagnostics there is a definition, else there is none. All workflows of the files are checked.
func Compile(files []workflow.File, name string) (*workflow.Definition, Diagnostics) {
	def, _, diags := CompileAndOpen(files, name)
	return def, diags
}

// CompileAndOpen is Compile with the definition's evaluator, which need not read the files again.
func CompileAndOpen(files []workflow.File, name string) (*workflow.Definition, *Evaluator, Diagnostics) {
	f := &findings{}
	m, defs := compileFiles(files, f)
	if m == nil {
		return nil, nil, f.sorted()
	}
	m.choose(name, f)
	if f.list.HasErrors() {
		return nil, nil, f.sorted()
	}
	chosen := slices.IndexFunc(m.flows, func(fl *flow) bool { return fl.name == name || name == "" })
	def := defs[chosen]
	def.Namespaces = m.flows[chosen].namespaces(def.Namespace)
	def.Files = sortedFiles(files)
	def.Hash = hash(def.Name, def.Files)
	return def, newEvaluator(def, func() (*opened, error) { return openedFlow(m.flows[chosen]), nil }), f.sorted()
}

// CompileAll is Compile for every workflow of the files, in the order of their declaration; at least one.
func CompileAll(files []workflow.File) ([]*workflow.Definition, Diagnostics) {
	f := &findings{}
	m, defs := compileFiles(files, f)
	if m == nil {
		return nil, f.sorted()
	}
	if len(defs) == 0 {
		m.choose("", f) // it says what is missing
	}
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	sorted := sortedFiles(files)
	for i, def := range defs {
		def.Namespaces = m.flows[i].namespaces(def.Namespace)
		def.Files = sorted
		def.Hash = hash(def.Name, sorted)
	}
	return defs, f.sorted()
}

// compileFiles checks all workflows of the files, and compiles those that are declared in the files themselves. There is no
// module where they cannot be parsed.
func compileFiles(files []workflow.File, f *findings) (*module, []*workflow.Definition) {
	b := newBundle(files, f)
	m := b.module(b.own(), f)
	if f.list.HasErrors() && m.broken {
		return nil, nil
	}
	b.connect(f)
	var defs []*workflow.Definition
	for _, each := range b.order {
		for _, fl := range each.flows {
			if def := fl.compile(f); each == m {
				defs = append(defs, def)
			}
		}
	}
	b.circles(f)
	return m, defs
}

// choose checks that there is exactly one workflow of the name.
func (m *module) choose(name string, f *findings) {
	names := make([]string, len(m.flows))
	for i, fl := range m.flows {
		names[i] = fl.name
	}
	nowhere := hcl.Range{}
	switch {
	case len(names) == 0 && !f.list.HasErrors():
		f.errorf(nowhere, "No workflow", "The files declare no workflow. Write workflow \"name\" { … } with at least one task in it.")
	case len(names) == 0:
	case name == "" && len(names) > 1:
		f.errorf(nowhere, "Several workflows", "The files declare several workflows: %s. Say which one is meant.", either(names...))
	case name != "" && m.flow(name) == nil:
		f.errorf(nowhere, "Unknown workflow", "The files declare no workflow %s, only %s.%s", name, either(names...), didYouMean(name, names))
	}
}

// flow returns the workflow of a name, the only one for "", or nil.
func (m *module) flow(name string) *flow {
	for _, fl := range m.flows {
		if fl.name == name || name == "" && len(m.flows) == 1 {
			return fl
		}
	}
	return nil
}

// hash is the identity of a definition: its name and its files, each with its length so that no two lists read alike, whether
// they are its own or named by it, and the version of the language. The files are sorted.
func hash(name string, files []workflow.File) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", languageVersion, name)
	for _, f := range files {
		fmt.Fprintf(h, "%d %s %d %t\n", len(f.Path), f.Path, len(f.Bytes), f.Named)
		h.Write(f.Bytes)
	}
	return hashPrefix + hex.EncodeToString(h.Sum(nil))
}

// compile checks a workflow and turns it into a definition, which is of use only if there were no errors.
func (fl *flow) compile(f *findings) *workflow.Definition {
	fl.link(f)
	c := newChecker(fl, f)
	c.check()
	def := &workflow.Definition{
		Name: fl.name, Namespace: DefaultNamespace, Priority: DefaultPriority, OnFailure: workflow.OnFailureContinue, Concurrency: fl.concurrency,
	}
	c.constants(def)
	fl.namespace = def.Namespace
	for _, p := range fl.params {
		def.Params = append(def.Params, workflow.Param{
			Name: p.name, Type: p.typeText, Description: p.description, Sensitive: p.sensitive, Nullable: p.nullable,
			Required: p.fallback == nil, Range: rangeOf(p.block.Range()),
		})
	}
	for _, t := range fl.tasks {
		def.Tasks = append(def.Tasks, c.compileTask(t))
	}
	for _, o := range fl.outputs {
		c.runOutput(o)
		if o.value != nil {
			def.Outputs = append(def.Outputs, workflow.RunOutput{
				Name: o.name, Value: fl.module.expr(workflow.ExprValue, o.value.expr.Range()), Sensitive: o.sensitive,
				Refs: flatTasks(o.value.refs), Range: rangeOf(o.block.Range()),
			})
		}
	}
	c.walks()
	c.picks()
	c.foreignJobs()
	c.clear()
	c.graph(def)
	return def
}

// constants reads the attributes of the workflow itself.
func (c *checker) constants(def *workflow.Definition) {
	for name, set := range map[string]func(cty.Value){
		"description":  func(v cty.Value) { def.Description = v.AsString() },
		"owner":        func(v cty.Value) { def.Owner = v.AsString() },
		"namespace":    func(v cty.Value) { def.Namespace = v.AsString() },
		"priority":     func(v cty.Value) { def.Priority, _ = whole(v) },
		"timeout":      func(v cty.Value) { def.Timeout = duration(v) },
		"max_parallel": func(v cty.Value) { def.MaxParallel, _ = whole(v) },
		"on_failure":   func(v cty.Value) { def.OnFailure = workflow.OnFailure(v.AsString()) },
		"labels":       func(v cty.Value) { c.labels(def, v) },
	} {
		s := c.flow.constants[name]
		if s == nil {
			continue
		}
		if v, ok := c.value(s); ok && v.IsWhollyKnown() {
			set(v)
		}
	}
}

func (c *checker) labels(def *workflow.Definition, v cty.Value) {
	def.Labels = make(map[string]string, v.LengthInt())
	size := 0
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		def.Labels[k.AsString()] = e.AsString()
		size += len(k.AsString()) + len(e.AsString())
	}
	if size > workflow.MaxLabelsBytes {
		c.errorf(c.flow.constants["labels"].at(), "Labels too large",
			"The labels have %d bytes together, at most %d are possible. Labels are for finding runs; put longer text into description.",
			size, workflow.MaxLabelsBytes)
	}
}

func (c *checker) compileTask(t *task) workflow.Task {
	fl := c.flow
	out := workflow.Task{
		Name: t.name, Kind: t.kind, Range: rangeOf(t.block.Range()), TriggerRule: t.rule, Recovers: t.recovers, WhenFalse: t.whenFalse,
	}
	for _, d := range t.dependsOn {
		out.DependsOn = append(out.DependsOn, d.name)
	}
	out.Policy, out.Dynamic = c.task(t)
	for _, e := range []struct {
		site *site
		into **workflow.Expr
	}{{t.when, &out.When}, {t.forEach, &out.ForEach}, {t.key, &out.Key}, {t.count, &out.Count}, {t.retryWhen, &out.Policy.Retry.When}} {
		if e.site != nil {
			x := fl.module.expr(workflow.ExprValue, e.site.expr.Range())
			*e.into = &x
		}
	}
	for _, o := range t.outputs {
		out.Outputs = append(out.Outputs, workflow.Output{
			Name: o.name, Type: workflow.Expr{Kind: workflow.ExprConvert, Text: o.typeText, Range: rangeOf(o.typeRange)},
			Default: c.output(o), Sensitive: o.sensitive, From: o.from, Pattern: o.pattern, Range: rangeOf(o.block.Range()),
		})
	}
	out.BodyKind = t.kindOfBody
	if t.kindOfBody != workflow.BodyJoin {
		c.body(t)
		body := fl.module.expr(workflow.ExprBody, t.block.Range())
		out.Body = &body
	}
	var all, expand []*refs
	if t.bodySite != nil {
		all = append(all, t.bodySite.refs)
	}
	for _, s := range t.sites() {
		all = append(all, s.refs)
		if s == t.forEach || s == t.key || s == t.count {
			expand = append(expand, s.refs)
		}
	}
	out.Refs, out.ExpandRefs = flatTasks(all...), flatTasks(expand...)
	return out
}

// expr is an expression of a definition: the text at a place.
func (m *module) expr(kind workflow.ExprKind, r hcl.Range) workflow.Expr {
	return workflow.Expr{Kind: kind, Text: m.text(r), Range: rangeOf(r)}
}
