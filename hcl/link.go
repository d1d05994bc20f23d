// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// link resolves every reference of a workflow and orders what must be evaluated in order. After it the flow can be
// evaluated, if there was no error.
func (fl *flow) link(f *findings) {
	r := &resolver{findings: f, flow: fl}
	all := fl.allLocals()
	for _, l := range all {
		l.site.refs = r.resolve(l.site, jobspec.Variables(l.attr.Expr))
	}
	fl.breakLocalCycles(f, all)
	for _, l := range all {
		rewritten, diags := jobspec.RewriteExpr(l.attr.Expr, fl.options(nil))
		f.add(diags)
		if !diags.HasErrors() {
			l.site.bodyExpr = rewritten
		}
	}
	for _, s := range fl.constants {
		s.refs = r.resolve(s, jobspec.Variables(s.expr))
	}
	for _, p := range fl.params {
		for _, s := range p.sites() {
			s.refs = r.resolve(s, jobspec.Variables(s.expr))
		}
	}
	fl.breakParamCycles(f)
	for _, t := range fl.tasks {
		for _, s := range t.sites() {
			s.refs = r.resolve(s, jobspec.Variables(s.expr))
			r.through(s)
			if s.mode() == forBody {
				rewritten, diags := jobspec.RewriteExpr(s.expr, fl.options(nil))
				f.add(diags)
				s.bodyExpr = rewritten
			}
		}
		for _, o := range t.outputs {
			if o.fallback != nil {
				o.fallback.refs = r.resolve(o.fallback, jobspec.Variables(o.fallback.expr))
			}
		}
	}
	for _, o := range fl.outputs {
		if o.value != nil {
			o.value.refs = r.resolve(o.value, jobspec.Variables(o.value.expr))
			r.through(o.value)
		}
	}
}

// linkBody compiles what of a task's body is Nomad's, and resolves its references. It is apart from link because an
// evaluator needs few bodies at a time.
func (fl *flow) linkBody(t *task, f *findings) *site {
	s := &site{name: "the body of task " + t.name, access: accessBody, task: t}
	var read []hcl.Traversal
	use := func(body *jobspec.Body, diags hcl.Diagnostics) *jobspec.Body {
		f.add(diags)
		read = append(read, body.Variables()...)
		return body
	}
	switch t.kindOfBody {
	case workflow.BodyTask:
		t.nomad = use(jobspec.CompileTask(t.body, fl.options(ownTaskWords)))
	case workflow.BodyGroup:
		if t.group != nil {
			t.nomad = use(jobspec.CompileGroup(t.group, fl.options(ownTaskWords)))
		}
	case workflow.BodyJob:
		fl.linkJob(t, f)
	}
	if t.placement != nil {
		t.placed = use(jobspec.CompileTask(t.placement, fl.options(nil)))
	}
	r := &resolver{findings: f, flow: fl}
	s.refs = r.resolve(s, read)
	r.through(s)
	t.bodySite = s
	return s
}

// linkJob compiles the job file that a task names.
func (fl *flow) linkJob(t *task, f *findings) {
	if t.jobFile == "" {
		return // reported
	}
	b := fl.module.bundle
	file, ok := b.files[t.jobFile]
	at := t.content.Body.Attributes["source"].Expr.Range()
	if !ok {
		f.errorf(at, "No such file", "There is no file %s in the workflow's folder.%s", t.jobFile, f.near(t.jobFile, b.names))
		return
	}
	if bad, not := notText(file); not {
		f.errorf(bad, "Not a text file", "The job file is not text in UTF-8.")
		return
	}
	if deep, too := tooDeep(file); too {
		f.errorf(deep, "Nested too deeply", "Brackets, operators and templates may stand inside each other %d deep.", maxNesting)
		return
	}
	dir := path.Dir(t.jobFile)
	job, diags := jobspec.CompileBatchJob(t.jobFile, file.Bytes, functionsIn(b, dir, forValue))
	f.add(diags)
	if parsed, diags := hclsyntax.ParseConfig(file.Bytes, t.jobFile, hcl.InitialPos); !diags.HasErrors() && mayRead(file.Bytes) {
		d := &decoder{module: &module{dir: dir, bytes: map[string][]byte{t.jobFile: file.Bytes}}}
		d.checkPaths(parsed.Body.(*hclsyntax.Body))
		f.list = append(f.list, d.list...)
	}
	t.job = job
}

// options are those of a body in which own are Cairn's words.
func (fl *flow) options(own map[string]bool) jobspec.Options {
	return jobspec.Options{Sources: fl.module.bytes, Own: own, Known: knownRoots, Tainted: fl.tainted}
}

// tainted reports whether a reference is to a local that carries run-time text.
func (fl *flow) tainted(t hcl.Traversal) bool {
	if t.RootName() != "local" {
		return false
	}
	name, ok := stepName(t, 1)
	if !ok {
		return false
	}
	l := fl.locals[name]
	if l == nil {
		l = fl.module.locals[name]
	}
	if l == nil || l.site.refs == nil {
		return false
	}
	return anyLocal([]*local{l}, func(l *local) bool { return l.site.refs.nomad })
}

// allLocals are the locals of the workflow and of its files, those of the files first, in a fixed order.
func (fl *flow) allLocals() []*local {
	var out []*local
	for _, l := range fl.module.locals {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *local) int { return strings.Compare(a.name, b.name) })
	return append(out, fl.localList...)
}

// anyLocal reports whether test holds for one of the locals or of those they refer to.
func anyLocal(locals []*local, test func(*local) bool) bool {
	if len(locals) == 0 {
		return false
	}
	seen, stack := map[*local]bool{}, slices.Clone(locals)
	for len(stack) > 0 {
		l := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[l] {
			continue
		}
		seen[l] = true
		if test(l) {
			return true
		}
		if l.site.refs != nil {
			stack = append(stack, l.site.refs.locals...)
		}
	}
	return false
}

// through checks what a site reads by way of locals.
func (r *resolver) through(s *site) {
	finally := s.task != nil && s.task.kind == "finally"
	var end, nomad string
	anyLocal(s.refs.locals, func(l *local) bool {
		if l.site.refs == nil {
			return false
		}
		if l.site.refs.end && end == "" {
			end = l.name
		}
		if l.site.refs.nomad && nomad == "" {
			nomad = l.name
		}
		return false
	})
	at := s.at()
	if end != "" && !finally && s.access&readEnd == 0 {
		r.errorf(at, "Not known here", "%s uses local %s, which reads run.status or run.failed_tasks. How a run ends is known in finally tasks only.", upperFirst(s.name), end)
	}
	if nomad != "" && s.access&readNomad == 0 {
		r.errorf(at, "Known only on the worker", "%s uses local %s, whose value is known only on the machine where the task runs. It can stand in an inline Nomad task, or in a group.", upperFirst(s.name), nomad)
	}
}

// at is where a site stands.
func (s *site) at() hcl.Range {
	switch {
	case s.expr != nil:
		return s.expr.Range()
	case s.task != nil:
		return s.task.block.DefRange()
	}
	return hcl.Range{}
}

// breakLocalCycles reports locals that need themselves and marks one of each circle, so that nobody runs in it.
func (fl *flow) breakLocalCycles(f *findings, all []*local) {
	type step struct {
		local *local
		next  int
	}
	for _, root := range all {
		if root.state != localNew {
			continue
		}
		root.state = localOpen
		stack := []step{{local: root}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			needs := top.local.site.refs.locals
			if top.next == len(needs) {
				top.local.state = localDone
				stack = stack[:len(stack)-1]
				continue
			}
			need := needs[top.next]
			top.next++
			switch need.state {
			case localNew:
				need.state = localOpen
				stack = append(stack, step{local: need})
			case localOpen:
				names := []string{"local." + need.name}
				for i := len(stack) - 1; i >= 0 && stack[i].local != need; i-- {
					names = append(names, "local."+stack[i].local.name)
				}
				slices.Reverse(names[1:])
				f.errorf(need.attr.NameRange, "Locals in a circle", "%s: each needs the next before it can be computed. Take one reference out.",
					strings.Join(append(names, names[0]), " -> "))
				need.site.circular = true
			}
		}
	}
}

// sites are the expressions of a param.
func (p *param) sites() []*site {
	var out []*site
	if p.fallback != nil {
		out = append(out, p.fallback)
	}
	for _, v := range p.validations {
		out = append(out, v.condition, v.message)
	}
	return out
}

// breakParamCycles reports params whose defaults need themselves.
func (fl *flow) breakParamCycles(f *findings) {
	state := make(map[*param]localState, len(fl.params))
	var order []*param
	var visit func(p *param, path []string)
	visit = func(p *param, path []string) {
		path = append(path, "param."+p.name)
		switch state[p] {
		case localDone:
			return
		case localOpen:
			i := slices.Index(path, path[len(path)-1])
			f.errorf(p.fallback.expr.Range(), "Params in a circle", "%s: the default of each needs the next. Take one reference out.", strings.Join(path[i:], " -> "))
			p.fallback.circular = true
			return
		}
		state[p] = localOpen
		if p.fallback != nil {
			for _, name := range p.fallback.refs.params {
				visit(fl.paramByName[name], path)
			}
		}
		state[p] = localDone
		order = append(order, p)
	}
	for _, p := range fl.params {
		visit(p, nil)
	}
	fl.paramOrder = order
}

// flatTasks are the tasks a set of references reads, through locals too, in the order they are found.
func flatTasks(all ...*refs) []string {
	var out []string
	seen := map[string]bool{}
	add := func(names []string) {
		for _, n := range names {
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	for _, r := range all {
		if r == nil {
			continue
		}
		add(r.tasks)
		anyLocal(r.locals, func(l *local) bool {
			if l.site.refs != nil {
				add(l.site.refs.tasks)
			}
			return false
		})
	}
	slices.Sort(out)
	return out
}

// elementType is what each.value is, as far as the value of for_each tells.
func elementType(v cty.Value) cty.Type {
	ty := v.Type()
	switch {
	case ty.IsCollectionType():
		return ty.ElementType()
	case ty.IsTupleType():
		return common(ty.TupleElementTypes())
	case ty.IsObjectType():
		var types []cty.Type
		for _, t := range ty.AttributeTypes() {
			types = append(types, t)
		}
		return common(types)
	}
	return cty.DynamicPseudoType
}

func common(types []cty.Type) cty.Type {
	for _, t := range types {
		if !t.Equals(types[0]) {
			return cty.DynamicPseudoType
		}
	}
	if len(types) == 0 {
		return cty.DynamicPseudoType
	}
	return types[0]
}
