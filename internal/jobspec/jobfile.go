// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"path"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
)

// JobFile is a whole job file, ready to be evaluated with values for its variables. It means exactly what it means to
// `nomad job run`: nothing is refused because Cairn owns it, unknown roots are Nomad's, and no text is escaped.
type JobFile struct {
	variables []*variable
	locals    []*hclsyntax.Attribute // in the order in which they can be evaluated
	job       *hclsyntax.Block
	functions map[string]function.Function
	forTask   bool // made by CompileBatchJob
}

// jobRoots are the names that a job file defines itself. Every other root is left to Nomad.
var jobRoots = map[string]bool{"var": true, "local": true}

// CompileJob parses a job file. functions are those its expressions may call, AllFunctions for all that Nomad has.
func CompileJob(filename string, src []byte, functions map[string]function.Function) (*JobFile, hcl.Diagnostics) {
	start := hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos}
	if bytes.HasPrefix(bytes.TrimSpace(src), []byte("{")) {
		return nil, errorAt(start, "Job file in JSON", "A job file is written in HCL here; this one is JSON.")
	}
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	r := newRewriter(&Options{Sources: map[string][]byte{filename: src}, Known: jobRoots}, nil)
	r.verbatim = true
	j := &JobFile{functions: functions}
	diags = append(diags, j.topLevel(file.Body.(*hclsyntax.Body), r)...)
	if j.job == nil {
		return nil, sorted(append(diags, errorAt(start,
			"Missing job block", "A job file holds one job block: job \"name\" { … }.")...))
	}
	names := &namesCheck{}
	names.body(j.job.Body, bodies().job, levelFree)
	diags = sorted(append(diags, names.diags...))
	if diags.HasErrors() {
		return nil, diags
	}
	return j, diags
}

// topLevel sorts the blocks of a file.
func (j *JobFile) topLevel(body *hclsyntax.Body, r *rewriter) hcl.Diagnostics {
	var diags hcl.Diagnostics
	words := []string{"job", "locals", "variable", "variables"}
	for _, name := range sortedNames(body.Attributes) {
		diags = append(diags, errorAt(body.Attributes[name].NameRange, "Unsupported argument",
			"A job file holds the blocks job, locals and variable, but no argument %q.", name)...)
	}
	var locals []*hclsyntax.Attribute
	for _, b := range body.Blocks {
		wantLabels := 0
		switch b.Type {
		case "variable", "job":
			wantLabels = 1
		case "variables", "locals":
		default:
			detail := "A job file holds the blocks job, locals and variable, but no block %q."
			if near := Nearest(b.Type, words); near != "" {
				detail += " Did you mean " + near + "?"
			}
			diags = append(diags, errorAt(b.TypeRange, "Unsupported block", detail, b.Type)...)
			continue
		}
		if len(b.Labels) != wantLabels {
			diags = append(diags, errorAt(b.DefRange(), "Wrong number of labels", "%s takes %d labels, not %d.", b.Type, wantLabels, len(b.Labels))...)
			continue
		}
		switch b.Type {
		case "variable":
			v, more := declareVariable(b)
			diags = append(diags, more...)
			diags = append(diags, j.declare(v)...)
		case "variables":
			for _, name := range sortedNames(b.Body.Attributes) {
				attr := b.Body.Attributes[name]
				v, more := attr.Expr.Value(nil)
				diags = append(diags, more...)
				diags = append(diags, j.declare(&variable{name: name, at: attr.NameRange, want: v.Type(), fallback: v})...)
			}
		case "locals":
			for _, name := range sortedNames(b.Body.Attributes) {
				attr := *b.Body.Attributes[name]
				attr.Expr = r.expr(attr.Expr, nil, true)
				locals = append(locals, &attr)
			}
		case "job":
			if j.job != nil {
				diags = append(diags, errorAt(b.TypeRange, "Duplicate block", "A file holds one job; the first one is at %s.", lineOf(j.job.TypeRange))...)
				continue
			}
			job := *b
			job.Body = r.body(b.Body, nil, nil)
			j.job = &job
		}
	}
	ordered, more := orderLocals(locals)
	j.locals = ordered
	return append(diags, more...)
}

func (j *JobFile) declare(v *variable) hcl.Diagnostics {
	for _, known := range j.variables {
		if known.name == v.name {
			return errorAt(v.at, "Duplicate variable", "The variable %q is declared at %s already.", v.name, lineOf(known.at))
		}
	}
	j.variables = append(j.variables, v)
	return nil
}

// orderLocals puts locals behind those they refer to.
func orderLocals(locals []*hclsyntax.Attribute) ([]*hclsyntax.Attribute, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	byName := make(map[string]*hclsyntax.Attribute, len(locals))
	for _, l := range locals {
		if first := byName[l.Name]; first != nil {
			diags = append(diags, errorAt(l.NameRange, "Duplicate local", "The local %q is written at %s already.", l.Name, lineOf(first.NameRange))...)
			continue
		}
		byName[l.Name] = l
	}
	var ordered []*hclsyntax.Attribute
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(l *hclsyntax.Attribute)
	visit = func(l *hclsyntax.Attribute) {
		switch state[l.Name] {
		case done:
			return
		case visiting:
			diags = append(diags, errorAt(l.NameRange, "Circular locals", "The local %q depends on itself.", l.Name)...)
			return
		}
		state[l.Name] = visiting
		for _, t := range Variables(l.Expr) {
			if step, ok := second(t); ok && t.RootName() == "local" && byName[step] != nil {
				visit(byName[step])
			}
		}
		state[l.Name] = done
		ordered = append(ordered, l)
	}
	for _, l := range locals {
		if byName[l.Name] == l {
			visit(l)
		}
	}
	return ordered, diags
}

// second is the name after the root of a traversal: x of local.x and local["x"].
func second(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch step := t[1].(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

// Files lists what the expressions of the file read, as paths below the folder that the path of the file itself is below of.
func (j *JobFile) Files() ([]NamedFile, hcl.Diagnostics) {
	nodes := []hclsyntax.Node{j.job.Body}
	for _, l := range j.locals {
		nodes = append(nodes, l.Expr)
	}
	for _, v := range j.variables {
		for _, val := range v.validations {
			if val.condition != nil {
				nodes = append(nodes, val.condition)
			}
		}
	}
	return NamedFiles(path.Dir(j.job.TypeRange.Filename), nodes...)
}

// VariableNames lists the variables that the file declares.
func (j *JobFile) VariableNames() []string {
	names := make([]string, len(j.variables))
	for i, v := range j.variables {
		names[i] = v.name
	}
	return names
}

// Decode evaluates the file with the given values for its variables.
func (j *JobFile) Decode(vars map[string]cty.Value) (*nomadapi.Job, hcl.Diagnostics) {
	job, diags := j.decode(vars, false)
	if diags.HasErrors() {
		return nil, diags
	}
	return job, diags
}

// Check evaluates the file with values that may be unknown, and reports what cannot be right whatever they turn out to be.
func (j *JobFile) Check(vars map[string]cty.Value) hcl.Diagnostics {
	_, diags := j.decode(vars, true)
	return diags
}

// Placement is Body.Placement of the file.
func (j *JobFile) Placement(vars map[string]cty.Value) (region, namespace string) {
	job, _ := j.decode(vars, true)
	return placement(job)
}

func (j *JobFile) decode(vars map[string]cty.Value, checking bool) (*nomadapi.Job, hcl.Diagnostics) {
	ctx, diags := j.scope(vars)
	if diags.HasErrors() {
		return nil, sorted(diags)
	}
	d := &decoder{checking: checking, verbatim: true, asNomad: true}
	targets := newTargets(bodies().job)
	d.body(j.job.Body, ctx, bodies().job, targets, j.job.DefRange())
	job := targets[0].Interface().(*nomadapi.Job)
	finishJob(job, targets[1].Interface().(*jobExtras), j.job.Labels[0])
	diags = append(diags, d.diags...)
	if j.forTask && !diags.HasErrors() {
		diags = append(diags, j.unfitType(job)...)
	}
	return job, sorted(diags)
}

// scope evaluates variables and locals.
func (j *JobFile) scope(vars map[string]cty.Value) (*hcl.EvalContext, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	for name := range vars {
		if !slices.Contains(j.VariableNames(), name) {
			detail := "The job file declares no variable %q."
			if near := Nearest(name, j.VariableNames()); near != "" {
				detail += " Did you mean " + near + "?"
			}
			diags = append(diags, errorAt(j.job.DefRange(), "Undeclared variable", detail, name)...)
		}
	}
	if j.forTask {
		vars, diags = j.plainValues(vars, diags)
	}
	values := make(map[string]cty.Value, len(j.variables))
	for _, v := range j.variables {
		value, more := v.value(vars, j.functions)
		values[v.name] = value
		diags = append(diags, more...)
	}
	locals := make(map[string]cty.Value, len(j.locals))
	ctx := &hcl.EvalContext{Functions: j.functions, Variables: map[string]cty.Value{"var": cty.ObjectVal(values), "local": cty.EmptyObjectVal}}
	if diags.HasErrors() {
		return ctx, diags
	}
	for _, l := range j.locals {
		value, more := l.Expr.Value(ctx)
		diags = append(diags, more...)
		locals[l.Name] = value
		ctx.Variables["local"] = cty.ObjectVal(locals)
	}
	return ctx, diags
}

// ParseVariableFile reads values for variables, written as arguments.
func ParseVariableFile(filename string, src []byte) (map[string]cty.Value, hcl.Diagnostics) {
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	body := file.Body.(*hclsyntax.Body)
	for _, b := range body.Blocks {
		diags = append(diags, errorAt(b.TypeRange, "Unsupported block", "A file of variable values holds arguments only: name = value.")...)
	}
	values := make(map[string]cty.Value, len(body.Attributes))
	for _, name := range sortedNames(body.Attributes) {
		v, more := body.Attributes[name].Expr.Value(nil)
		diags = append(diags, more...)
		values[name] = v
	}
	return values, sorted(diags)
}

// convertVariable converts a value to the type of its variable; no type means any.
func convertVariable(v cty.Value, want cty.Type) (cty.Value, error) {
	if want == cty.NilType {
		return v, nil
	}
	return convert.Convert(v, want)
}
