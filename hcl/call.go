// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// call is what a run_workflow body says of the workflow it runs. Everything in it is constant, so that the definition holds
// the files of every child.
type call struct {
	name      string
	nameAt    hcl.Range
	source    string // below the workflow's folder; empty = the files the call stands in
	sourceAt  hcl.Range
	version   string // the beginning of a hash
	versionAt hcl.Range
	broken    bool // reported already
	flow      *flow
}

const (
	hashPrefix      = "sha256:"
	minVersionChars = 8
)

func (d *decoder) decodeCall(t *task) {
	body := t.content.Body
	c := &call{}
	t.call = c
	if attr := body.Attributes["name"]; attr != nil {
		v, ok := d.constant(body, "name", kindText)
		if c.nameAt = attr.Expr.Range(); ok {
			c.name = v.AsString()
			ok = d.name("workflow", c.name, c.nameAt)
		}
		c.broken = c.broken || !ok
	}
	if attr := body.Attributes["source"]; attr != nil {
		at, ok := d.pathOf(attr.Expr, "`run_workflow.source` of task "+t.name)
		c.source, c.sourceAt = at, attr.Expr.Range()
		c.broken = c.broken || !ok
	}
	if c.name == "" && c.source == "" && !c.broken {
		d.missing(t, "name, a workflow of these files, or source, a file or folder with one")
		c.broken = true
	}
	if attr := body.Attributes["version"]; attr != nil {
		if v, ok := d.constant(body, "version", kindText); ok {
			c.version, c.versionAt = v.AsString(), attr.Expr.Range()
		}
	}
}

// connect finds the workflows that run_workflow bodies name, in the files of the bundle, and gives their outputs to the
// tasks that run them. Files of children are decoded on the way.
func (b *bundle) connect(f *findings) {
	for i := 0; i < len(b.order); i++ {
		for _, fl := range b.order[i].flows {
			for _, t := range fl.tasks {
				if t.call != nil && !t.call.broken {
					b.connectTask(b.order[i], t, f)
				}
			}
		}
	}
}

func (b *bundle) connectTask(from *module, t *task, f *findings) {
	c := t.call
	c.broken = true
	m, at := from, c.nameAt
	if c.source != "" {
		own := b.entry(c.source)
		if at = c.sourceAt; len(own) == 0 {
			f.errorf(at, "No such file", "There is no workflow at %s in the workflow's folder: neither a file, nor a folder with %s files.%s",
				c.source, extension, f.near(c.source, b.names))
			return
		}
		m = b.module(own, f)
	}
	if m.broken {
		return // its files have errors of their own
	}
	names := make([]string, len(m.flows))
	for i, fl := range m.flows {
		names[i] = fl.name
	}
	switch {
	case len(names) == 0:
		f.errorf(at, "No workflow", "The files at %s declare no workflow that task %s could run.", c.source, t.name)
		return
	case c.name == "" && len(names) > 1:
		f.errorf(at, "Several workflows", "The files at %s declare several workflows: %s. Write name beside source.", c.source, either(names...))
		return
	case m.flow(c.name) == nil && c.source != "":
		f.errorf(c.nameAt, "Unknown workflow", "The files at %s declare no workflow %s, only %s.%s", c.source, c.name, either(names...), f.near(c.name, names))
		return
	case m.flow(c.name) == nil:
		f.errorf(c.nameAt, "Unknown workflow", "No workflow %s is declared in these files, only %s.%s Workflows that are registered are resolved by a server; here, source = \"…\" names the file or folder that declares it.",
			c.name, either(names...), f.near(c.name, names))
		return
	}
	c.broken, c.flow = false, m.flow(c.name)
	d := &decoder{module: from}
	for _, o := range c.flow.outputs {
		d.given(t, output{name: o.name, ty: cty.DynamicPseudoType, typeText: "any", sensitive: o.sensitive})
	}
}

// call checks what a run_workflow body gives to its child.
func (c *checker) call(t *task) {
	if t.call.flow == nil {
		return
	}
	child := t.call.flow
	c.version(t)
	given, whole, ok := c.givenParams(t)
	if !ok {
		return
	}
	names := make([]string, len(child.params))
	for i, p := range child.params {
		names[i] = p.name
	}
	for _, g := range given {
		p := child.paramByName[g.name]
		if p == nil {
			c.errorf(g.at, "Unknown param", "workflow %s has no param %s.%s", child.name, shorten(g.name), c.suggest(g.name, names))
			continue
		}
		if v, _ := g.value.UnmarkDeep(); v != cty.NilVal {
			if _, err := p.take(v, p.sensitive || g.value.ContainsMarked()); err != nil {
				c.errorf(g.at, "Invalid param", "param %s of workflow %s %s", p.name, child.name, sentence(err))
			}
		}
	}
	if !whole {
		return
	}
	for _, p := range child.params {
		if p.fallback == nil && !slices.ContainsFunc(given, func(g givenParam) bool { return g.name == p.name }) {
			c.errorf(t.content.TypeRange, "Missing param", "param %s of workflow %s is required and not given. Write params = { %s = … } in run_workflow of task %s.",
				p.name, child.name, p.name, t.name)
		}
	}
}

// version checks that the child is the one that its caller has seen.
func (c *checker) version(t *task) {
	if t.call.versionAt == (hcl.Range{}) {
		return
	}
	child, want := t.call.flow, t.call.version
	actual := child.hash()
	digits, prefixed := strings.CutPrefix(want, hashPrefix)
	_, err := hex.DecodeString(digits[:len(digits)&^1])
	switch {
	case !prefixed || len(digits) < minVersionChars || len(digits) > 64 || err != nil || strings.ToLower(digits) != digits:
		c.errorf(t.call.versionAt, "Not a version", "`run_workflow.version` of task %s must be the beginning of a hash: sha256: and at least %d of its digits. Workflow %s has the version %s.",
			t.name, minVersionChars, child.name, actual)
	case !strings.HasPrefix(actual, want):
		c.errorf(t.call.versionAt, "Another version", "Workflow %s has the version %s, and task %s wants %s. Write the beginning of the new one, or leave version out.",
			child.name, actual, t.name, want)
	}
}

// givenParam is one element of params, as far as it is known.
type givenParam struct {
	name  string
	value cty.Value // NilVal when it has an error of its own
	at    hcl.Range
}

// givenParams are the elements of params. whole says that these are all there will be.
func (c *checker) givenParams(t *task) (given []givenParam, whole, ok bool) {
	s := t.parts["params"]
	if s == nil {
		return nil, true, true
	}
	if s.circular {
		return nil, false, false
	}
	ctx, diags := c.frame.context(s.refs, forValue)
	if diags.HasErrors() {
		return nil, false, false
	}
	ctx = c.inTask(s, ctx)
	if object, isObject := s.expr.(*hclsyntax.ObjectConsExpr); isObject {
		for _, item := range object.Items {
			k, diags := item.KeyExpr.Value(ctx)
			k, _ = k.Unmark()
			if diags.HasErrors() || !k.IsKnown() || k.IsNull() || k.Type() != cty.String {
				return nil, false, false
			}
			v, diags := item.ValueExpr.Value(ctx)
			if diags.HasErrors() {
				v = cty.NilVal
			}
			given = append(given, givenParam{k.AsString(), v, item.ValueExpr.Range()})
		}
		return given, true, true
	}
	v, diags := s.expr.Value(ctx)
	if diags.HasErrors() {
		return nil, false, false
	}
	v, marks := v.Unmark()
	switch ty := v.Type(); {
	case ty.IsObjectType() && v.IsKnown() && !v.IsNull():
		for _, name := range sortedKeys(ty.AttributeTypes()) {
			given = append(given, givenParam{name, v.GetAttr(name).WithMarks(marks), s.at()})
		}
		return given, true, true
	case ty.IsMapType() && v.IsKnown() && !v.IsNull():
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			given = append(given, givenParam{k.AsString(), e.WithMarks(marks), s.at()})
		}
		return given, true, true
	}
	return nil, false, true
}

// circles reports workflows that run themselves, by whatever way, and bound their runs: one would wait for its own child.
func (b *bundle) circles(f *findings) {
	for _, m := range b.order {
		for _, fl := range m.flows {
			for _, t := range fl.tasks {
				if t.call == nil || t.call.flow == nil {
					continue
				}
				if path := circle(fl, t.call.flow); path != nil {
					f.errorf(t.content.TypeRange, "Runs itself", "workflow %s runs itself (%s) and has concurrency with max_runs: a run would wait for its own child. Take the call out, or max_runs.",
						fl.name, strings.Join(path, " -> "))
				}
			}
		}
	}
}

// circle is the way from the child of a workflow to one that counts as the workflow itself and is bounded, or nil. Runs are
// counted by namespace and name, wherever the workflow stands.
func circle(from, child *flow) []string {
	type step struct {
		flow *flow
		path []string
	}
	seen := map[*flow]bool{}
	for queue := []step{{child, []string{from.name, child.name}}}; len(queue) > 0; {
		s := queue[0]
		queue = queue[1:]
		if seen[s.flow] {
			continue
		}
		seen[s.flow] = true
		if s.flow.name == from.name && s.flow.concurrency != nil {
			return s.path
		}
		for _, t := range s.flow.tasks {
			if t.call != nil && t.call.flow != nil {
				queue = append(queue, step{t.call.flow, append(slices.Clip(s.path), t.call.flow.name)})
			}
		}
	}
	return nil
}

// hash is the identity of the definition that the workflow is, as a child.
func (fl *flow) hash() string { return hash(fl.name, fl.module.bundle.closure(fl.module.own)) }

// child is a definition that Child made.
type child struct {
	def  *workflow.Definition
	eval *Evaluator
	err  error
}

// Child returns the definition that a run_workflow body names, compiled from the definition's own files, and its evaluator.
// The same body gives the same definition. It may be the evaluator's own: workflows may run themselves.
func (e *Evaluator) Child(body workflow.ChildBody) (*workflow.Definition, *Evaluator, error) {
	key := [2]string{body.Source, body.Workflow}
	e.mu.Lock()
	known, ok := e.children[key]
	e.mu.Unlock()
	if !ok {
		known.def, known.eval, known.err = e.compileChild(body)
		e.mu.Lock()
		if first, done := e.children[key]; done {
			known = first
		}
		e.children[key] = known
		e.mu.Unlock()
	}
	return known.def, known.eval, known.err
}

func (e *Evaluator) compileChild(body workflow.ChildBody) (*workflow.Definition, *Evaluator, error) {
	f := &findings{}
	b := newBundle(e.def.Files, f)
	own := b.own()
	if body.Source != "" {
		own = b.entry(body.Source)
	}
	if len(own) == 0 {
		return nil, nil, fmt.Errorf("definition %s of workflow %s holds no workflow at %s", e.def.Hash, e.def.Name, body.Source)
	}
	files := b.closure(own)
	if name := body.Workflow; name == "" || name == e.def.Name {
		if hash(e.def.Name, files) == e.def.Hash {
			return e.def, e, nil
		}
	}
	def, eval, diags := CompileAndOpen(files, body.Workflow)
	if def == nil {
		return nil, nil, errors.New(firstError(diags))
	}
	return def, eval, nil
}

// firstError is the first error of findings, with its place.
func firstError(diags Diagnostics) string {
	for _, d := range diags {
		if d.Severity == SeverityError {
			return d.String()
		}
	}
	return ""
}
