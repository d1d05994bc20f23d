// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// decoder turns syntax into a module. It evaluates nothing but constants.
type decoder struct {
	findings
	module *module
	flow   *flow
}

// decode reads what the files of a module declare.
func (m *module) decode(f *findings) {
	d := &decoder{module: m}
	var flows []*hclsyntax.Block
	for _, src := range m.sources {
		d.checkWords(src.body, fileWords, nil)
		if mayRead(m.bytes[src.path]) {
			d.checkPaths(src.body)
		}
		for _, block := range src.body.Blocks {
			switch block.Type {
			case "locals":
				d.labels(block)
				d.decodeLocals(block, m.locals, true)
			case "workflow":
				flows = append(flows, block)
			}
		}
	}
	for _, block := range flows {
		d.decodeFlow(block)
	}
	f.list = append(f.list, d.list...)
}

// checkPaths reports functions that read files and do not say which.
func (d *decoder) checkPaths(body *hclsyntax.Body) {
	calls(body, func(call *hclsyntax.FunctionCallExpr) {
		written, err := constantPath(call.Args[0])
		if err == nil {
			if _, err = resolve(d.module.dir, written); err == nil {
				return
			}
			err = fmt.Errorf("the path %w", err)
		}
		if errors.As(err, new(dependsError)) {
			err = fmt.Errorf("%w. Write the path as text; where each instance needs another file, put a map of them into locals", err)
		}
		d.errorf(call.Range(), "Not a path", "%s reads a file: %s.", call.Name, strings.TrimSuffix(err.Error(), "."))
	})
}

// labels checks that a block has the labels it must have.
func (d *decoder) labels(b *hclsyntax.Block, want ...string) bool {
	switch {
	case len(b.Labels) > len(want) && len(want) == 0:
		d.errorf(b.LabelRanges[0], "Too many labels", "%s takes no label: write %s { … }.", b.Type, b.Type)
	case len(b.Labels) > len(want):
		d.errorf(b.LabelRanges[len(want)], "Too many labels", "Write %s %q { … }: it takes one label.", b.Type, b.Labels[0])
	case len(b.Labels) < len(want):
		d.errorf(b.TypeRange, "Missing name", "Write %s \"%s\" { … }: its name is a label.", b.Type, want[0])
	default:
		return true
	}
	return false
}

// named checks the single label of a block as a name.
func (d *decoder) named(b *hclsyntax.Block) (string, bool) {
	if !d.labels(b, "name") {
		return "", false
	}
	return b.Labels[0], d.name(b.Type, b.Labels[0], b.LabelRanges[0])
}

func (d *decoder) name(what, name string, at hcl.Range) bool {
	if namePattern.MatchString(name) {
		return true
	}
	d.errorf(at, "Invalid name", "%q is no name for %s. A name begins with a small letter and goes on with at most 62 small letters, digits, underscores and hyphens.",
		shorten(name), article(what))
	return false
}

func shorten(s string) string {
	if len(s) <= 100 {
		return s
	}
	return s[:100] + "…"
}

func (d *decoder) decodeLocals(b *hclsyntax.Block, into map[string]*local, file bool) []*local {
	for _, inner := range b.Body.Blocks {
		d.errorf(inner.TypeRange, "Not a block", "locals holds values: write %s = { … } with an equals sign.", inner.Type)
	}
	var out []*local
	for _, attr := range attrsInOrder(b.Body) {
		d.name("local", attr.Name, attr.NameRange)
		if first := into[attr.Name]; first != nil {
			d.errorf(attr.NameRange, "Duplicate local", "local %s is already declared at %s. Give one of them another name.", attr.Name, where(first.attr.NameRange))
			continue
		}
		l := &local{name: attr.Name, file: file, attr: attr}
		allowed := accessLocal
		if file {
			allowed = accessConst
		}
		l.site = &site{name: "local " + attr.Name, expr: attr.Expr, access: allowed, kind: kindAny}
		into[attr.Name] = l
		out = append(out, l)
	}
	return out
}

func where(r hcl.Range) string { return place(rangeOf(r))[:max(0, len(place(rangeOf(r)))-2)] }

func attrsInOrder(b *hclsyntax.Body) []*hclsyntax.Attribute {
	out := make([]*hclsyntax.Attribute, 0, len(b.Attributes))
	for _, a := range b.Attributes {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return out
}

// workflowKinds are the constant attributes of a workflow.
var workflowKinds = map[string]kind{
	"description": kindText, "owner": kindText, "labels": kindTextMap, "namespace": kindText, "priority": kindWhole(1, 100),
	"timeout": kindDuration, "max_parallel": kindWhole(1, workflow.MaxInstances),
	"on_failure": kindWord(workflow.OnFailureContinue, workflow.OnFailureDrain, workflow.OnFailureFailFast),
}

func (d *decoder) decodeFlow(b *hclsyntax.Block) {
	if !d.labels(b, "name") {
		return
	}
	name := b.Labels[0]
	d.name(b.Type, name, b.LabelRanges[0])
	for _, other := range d.module.flows {
		if other.name == name {
			d.errorf(b.LabelRanges[0], "Duplicate workflow", "workflow %s is already declared at %s. Give one of them another name.", name, where(other.block.TypeRange))
			return
		}
	}
	fl := &flow{
		module: d.module, name: name, block: b, constants: map[string]*site{}, locals: map[string]*local{},
		paramByName: map[string]*param{}, taskByName: map[string]*task{},
	}
	d.flow = fl
	d.module.flows = append(d.module.flows, fl)
	d.checkWords(b.Body, workflowWords, nil)
	for _, attr := range attrsInOrder(b.Body) {
		if k, ok := workflowKinds[attr.Name]; ok {
			fl.constants[attr.Name] = &site{name: "`" + attr.Name + "` of the workflow", expr: attr.Expr, kind: k}
		}
		switch attr.Name {
		case "namespace", "region", "datacenters", "node_pool":
			fl.placement = append(fl.placement, attr)
		}
	}
	for _, block := range b.Body.Blocks {
		switch block.Type {
		case "param":
			d.decodeParam(block)
		case "locals":
			d.labels(block)
			fl.localList = append(fl.localList, d.decodeLocals(block, fl.locals, false)...)
		case "concurrency":
			d.decodeConcurrency(block)
		case "defaults":
			d.decodeDefaults(block)
		case "output":
			d.decodeRunOutput(block)
		}
	}
	for _, l := range fl.localList {
		if other := d.module.locals[l.name]; other != nil {
			d.errorf(l.attr.NameRange, "Duplicate local", "local %s is already declared for all workflows at %s. Give one of them another name.",
				l.name, where(other.attr.NameRange))
		}
	}
	for _, kind := range []workflow.TaskKind{workflow.KindTask, workflow.KindFinally} {
		for _, block := range b.Body.Blocks {
			if block.Type == string(kind) {
				d.decodeTask(block, kind)
			}
		}
	}
	switch n := len(fl.tasks); {
	case n == 0:
		d.errorf(b.TypeRange, "No tasks", "workflow %s has no tasks. Write at least one task block.", name)
	case n > workflow.MaxTasks:
		d.errorf(b.TypeRange, "Too many tasks", "workflow %s has %d tasks, at most %d are possible. Fan out with for_each instead.", name, n, workflow.MaxTasks)
	}
	if n := len(fl.outputs); n > workflow.MaxRunOutputsNumber {
		d.errorf(b.TypeRange, "Too many outputs", "workflow %s has %d outputs, at most %d are possible.", name, n, workflow.MaxRunOutputsNumber)
	}
}

func (d *decoder) decodeConcurrency(b *hclsyntax.Block) {
	d.labels(b)
	d.checkWords(b.Body, concurrencyWords, nil)
	if d.flow.concurrency != nil {
		d.errorf(b.TypeRange, "Duplicate concurrency", "A workflow has one concurrency block. Put everything into the first one.")
		return
	}
	d.flow.concurrency = &workflow.Concurrency{MaxRuns: 1, OnLimit: workflow.OnLimitQueue}
	if b.Body.Attributes["max_runs"] == nil {
		d.errorf(b.TypeRange, "Missing argument", "Concurrency needs max_runs: how many runs of workflow %s may go at the same time. Write max_runs = 1 for one after the other.", d.flow.name)
	}
	if v, ok := d.constant(b.Body, "max_runs", kindWhole(1, workflow.MaxInstances)); ok {
		d.flow.concurrency.MaxRuns, _ = whole(v)
	}
	if v, ok := d.constant(b.Body, "on_limit", kindWord(workflow.OnLimitQueue, workflow.OnLimitSkip, workflow.OnLimitCancelRunning)); ok {
		d.flow.concurrency.OnLimit = workflow.OnLimit(v.AsString())
	}
}

func (d *decoder) decodeDefaults(b *hclsyntax.Block) {
	d.labels(b)
	d.checkWords(b.Body, defaultsWords, nomadDefault)
	if d.flow.defaults != nil {
		d.errorf(b.TypeRange, "Duplicate defaults", "A workflow has one defaults block. Put everything into the first one.")
		return
	}
	body := *b.Body
	body.Attributes = make(hclsyntax.Attributes, len(b.Body.Attributes))
	for name, attr := range b.Body.Attributes {
		if defaultsWords.has(name) {
			body.Attributes[name] = attr
		}
	}
	body.Blocks = slices.DeleteFunc(slices.Clone(b.Body.Blocks), func(b *hclsyntax.Block) bool {
		return !defaultsWords.has(b.Type)
	})
	d.flow.defaults = &body
}

func (d *decoder) decodeRunOutput(b *hclsyntax.Block) {
	name, ok := d.named(b)
	d.checkWords(b.Body, runOutputWords, nil)
	if !ok {
		return
	}
	for _, other := range d.flow.outputs {
		if other.name == name {
			d.errorf(b.LabelRanges[0], "Duplicate output", "output %s is already declared at %s. Give one of them another name.", name, where(other.block.TypeRange))
			return
		}
	}
	out := &runOutput{name: name, block: b}
	if attr := b.Body.Attributes["value"]; attr != nil {
		out.value = &site{name: "output " + name, expr: attr.Expr, access: accessOutput, kind: kindAny}
	} else {
		d.errorf(b.TypeRange, "Missing value", "output %s needs a value, such as value = task.load.output.rows.", name)
	}
	if v, ok := d.constant(b.Body, "sensitive", kindBool); ok {
		out.sensitive = v.True()
	}
	d.constant(b.Body, "description", kindText)
	d.flow.outputs = append(d.flow.outputs, out)
}

// constant evaluates an attribute that may use functions only. It is not ok when the attribute is missing or wrong.
func (d *decoder) constant(b *hclsyntax.Body, name string, k kind) (cty.Value, bool) {
	attr := b.Attributes[name]
	if attr == nil {
		return cty.NilVal, false
	}
	return d.constantExpr(attr.Expr, "`"+name+"`", k)
}

func (d *decoder) constantExpr(expr hclsyntax.Expression, what string, k kind) (cty.Value, bool) {
	if vars := jobspec.Variables(expr); len(vars) > 0 {
		d.errorf(vars[0].SourceRange(), "Not a constant", "%s must be a constant: it is needed before anything runs, so it cannot refer to %s.", upperFirst(what), traversalText(vars[0]))
		return cty.NilVal, false
	}
	v, diags := expr.Value(&hcl.EvalContext{Functions: d.module.funcs.plain})
	d.add(diags)
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	v, _ = v.UnmarkDeep()
	v, err := k.convert(v)
	if err != nil {
		d.errorf(expr.Range(), "Wrong value", "%s %s", upperFirst(what), sentence(err))
		return cty.NilVal, false
	}
	return v, v.IsWhollyKnown()
}
