// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// decodeTask reads a task or finally block. Of a task with a bad name everything else is still read.
func (d *decoder) decodeTask(b *hclsyntax.Block, kind workflow.TaskKind) {
	if !d.labels(b, "name") {
		return
	}
	name := b.Labels[0]
	d.name(b.Type, name, b.LabelRanges[0])
	if first := d.flow.taskByName[name]; first != nil {
		d.errorf(b.LabelRanges[0], "Duplicate task", "task %s is already declared at %s. All tasks, finally tasks too, share one set of names.",
			name, where(first.block.TypeRange))
		return
	}
	t := &task{name: name, kind: kind, block: b, body: b.Body, policy: map[string]*site{}, outputByID: map[string]*output{},
		rule: workflow.AllSuccess, whenFalse: workflow.WhenFalseSkip}
	d.checkWords(b.Body, taskWords, nomadWord)
	d.decodeFanOut(t)
	d.decodeBody(t)
	d.decodeGraph(t)
	d.decodePolicy(t)
	d.decodeOutputs(t)
	d.flow.taskByName[name] = t
	d.flow.tasks = append(d.flow.tasks, t)
}

// hasNomadBody reports whether a task writes anything of Nomad's; one that writes nothing of it only joins others.
func hasNomadBody(b *hclsyntax.Body) bool {
	for name := range b.Attributes {
		if !ownTaskWords[name] {
			return true
		}
	}
	return slices.ContainsFunc(b.Blocks, func(b *hclsyntax.Block) bool {
		name := b.Type
		if name == "dynamic" && len(b.Labels) == 1 {
			name = b.Labels[0]
		}
		return !ownTaskWords[name]
	})
}

// beneath is what of the defaults reaches a task whose body is no Nomad task, under what it writes itself.
func (d *decoder) beneath(t *task) *hclsyntax.Body {
	own := t.block.Body
	if d.flow.defaults == nil {
		return own
	}
	reach := []string{"allow_failure"} // says something about every task
	switch {
	case t.kindOfBody.Cluster():
		reach = slices.Concat(defaultsWords.attrs, defaultsWords.blocks)
	case t.kindOfBody == workflow.BodyHTTP:
		reach = []string{"timeout", "deadline", "allow_failure", "retry"}
	}
	some := *d.flow.defaults
	some.Attributes = hclsyntax.Attributes{}
	for name, attr := range d.flow.defaults.Attributes {
		if slices.Contains(reach, name) {
			some.Attributes[name] = attr
		}
	}
	some.Blocks = nil
	for _, b := range d.flow.defaults.Blocks {
		switch {
		case !slices.Contains(reach, b.Type):
		case b.Type == "retry" && !t.kindOfBody.Cluster():
			some.Blocks = append(some.Blocks, withoutAttributes(b, withoutWorker))
		default:
			some.Blocks = append(some.Blocks, b)
		}
	}
	return jobspec.Merge(&some, own)
}

// withoutAttributes is a copy of a block without some of its attributes.
func withoutAttributes[V any](b *hclsyntax.Block, names map[string]V) *hclsyntax.Block {
	body, out := *b.Body, *b
	body.Attributes = hclsyntax.Attributes{}
	for name, attr := range b.Body.Attributes {
		if _, drop := names[name]; !drop {
			body.Attributes[name] = attr
		}
	}
	out.Body = &body
	return &out
}

// mergedBody puts the placement of the workflow and its defaults beneath a body.
func (d *decoder) mergedBody(own *hclsyntax.Body) *hclsyntax.Body {
	body := own
	if d.flow.defaults != nil {
		body = jobspec.Merge(d.flow.defaults, own)
	}
	if len(d.flow.placement) == 0 {
		return body
	}
	placed := *body
	placed.Attributes = make(hclsyntax.Attributes, len(body.Attributes)+len(d.flow.placement))
	for _, attr := range d.flow.placement {
		placed.Attributes[attr.Name] = attr
	}
	for name, attr := range body.Attributes {
		placed.Attributes[name] = attr
	}
	return &placed
}

// decodeGraph reads what ties the task to others.
func (d *decoder) decodeGraph(t *task) {
	own := t.block.Body
	if attr := own.Attributes["depends_on"]; attr != nil {
		t.dependsOn = d.dependencies(attr)
	}
	if attr := own.Attributes["trigger_rule"]; attr != nil {
		if v, ok := d.constant(own, "trigger_rule", kindWord(workflow.TriggerRules()...)); ok {
			t.rule, t.ruleRange = workflow.TriggerRule(v.AsString()), attr.Expr.Range()
		}
	}
	if v, ok := d.constant(own, "recovers", kindBool); ok {
		t.recovers, t.recoversAt = v.True(), own.Attributes["recovers"].NameRange
	}
	if v, ok := d.constant(own, "when_false", kindWord(workflow.WhenFalseSkip, workflow.WhenFalseSkipBranch)); ok {
		t.whenFalse = workflow.WhenFalse(v.AsString())
		if own.Attributes["when"] == nil {
			d.errorf(own.Attributes["when_false"].NameRange, "Missing condition", "when_false says what happens when `when` is false, and task %s has no `when`.", t.name)
		}
	}
	t.when = t.site(own, "when", accessTask, kindBool)
	if t.recovers && !t.rule.Handler() {
		d.errorf(t.recoversAt, "Nothing to recover", "recovers = true belongs to a task that handles a failure: one with trigger_rule one_failed or all_failed. The rule of task %s is %s.", t.name, t.rule)
	}
}

// dependencies reads depends_on = [task.a, …].
func (d *decoder) dependencies(attr *hclsyntax.Attribute) []dependency {
	list, ok := attr.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		d.errorf(attr.Expr.Range(), "Wrong value", "`depends_on` must be a list of tasks such as [task.extract].")
		return nil
	}
	var out []dependency
	for _, e := range list.Exprs {
		at := e.Range()
		traversal, diags := hcl.AbsTraversalForExpr(e)
		if diags.HasErrors() {
			d.errorf(at, "Not a task", "Each element of depends_on is a task, written without quotes: task.extract.%s", quotedHint(e))
			continue
		}
		name, ok := stepName(traversal, 1)
		switch {
		case traversal.RootName() != "task" || !ok:
			hint := ""
			if d.flow.blockNamed(traversal.RootName()) && len(traversal) == 1 {
				hint = fmt.Sprintf(" Did you mean `task.%s`?", traversal.RootName())
			}
			d.errorf(at, "Not a task", "Each element of depends_on is a task such as task.extract, not %s.%s", traversalText(traversal), hint)
		case len(traversal) > 2:
			d.errorf(at, "Not a task", "A task depends on whole tasks: write task.%s instead of %s.", name, traversalText(traversal))
		case slices.ContainsFunc(out, func(o dependency) bool { return o.name == name }):
			d.warnf(at, "Written twice", "task.%s stands in this list already.", name)
		default:
			out = append(out, dependency{name, at})
		}
	}
	return out
}

// blockNamed reports whether the workflow has a task block of this name, decoded already or not.
func (fl *flow) blockNamed(name string) bool {
	return slices.ContainsFunc(fl.block.Body.Blocks, func(b *hclsyntax.Block) bool {
		return (b.Type == "task" || b.Type == "finally") && len(b.Labels) == 1 && b.Labels[0] == name
	})
}

// quotedHint helps who wrote a task as text.
func quotedHint(e hclsyntax.Expression) string {
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String || !v.IsKnown() || v.IsNull() || !namePattern.MatchString(v.AsString()) {
		return ""
	}
	return fmt.Sprintf(" Did you mean `task.%s`?", v.AsString())
}

// site makes the site of an attribute, or nil if it is not written.
func (t *task) site(b *hclsyntax.Body, name string, a access, k kind) *site {
	attr := b.Attributes[name]
	if attr == nil {
		return nil
	}
	return &site{name: fmt.Sprintf("`%s` of task %s", name, t.name), expr: attr.Expr, access: a, kind: k, task: t}
}

func (d *decoder) decodeFanOut(t *task) {
	own := t.block.Body
	t.key = t.site(own, "key", accessTask|readElement, kindKey)
	t.forEach = t.site(own, "for_each", accessTask, kindForEach(t.key != nil))
	t.count = t.site(own, "count", accessTask, kindWhole(0, workflow.MaxInstances))
	switch {
	case t.forEach != nil && t.count != nil:
		d.errorf(own.Attributes["count"].NameRange, "Two ways to fan out", "task %s has both for_each and count. Keep one: for_each gives instances names, count gives them numbers.", t.name)
		t.count = nil
	case t.key != nil && t.forEach == nil:
		d.errorf(own.Attributes["key"].NameRange, "Key without for_each", "key names the elements of a list in for_each, and task %s has none.", t.name)
		t.key = nil
	}
	for _, name := range []string{"max_parallel", "min_success"} {
		if attr := own.Attributes[name]; attr != nil && !t.fanned() {
			d.errorf(attr.NameRange, "Not a fan-out", "%s is about the instances of a task, and task %s has neither for_each nor count. Write one of them, or leave %s out.", name, t.name, name)
		}
	}
}

func (d *decoder) decodeOutputs(t *task) {
	for _, b := range t.block.Body.Blocks {
		if b.Type != "output" {
			continue
		}
		name, ok := d.named(b)
		d.checkWords(b.Body, outputWords, nil)
		if !ok || t.spec != nil && t.spec.outputs != "" {
			continue
		}
		if first := t.outputByID[name]; first != nil {
			d.errorf(b.LabelRanges[0], "Duplicate output", "output %s is already declared at %s. Give one of them another name.", name, where(first.block.TypeRange))
			continue
		}
		o := &output{name: name, block: b, ty: cty.String, typeText: "string", typeRange: b.DefRange(), from: workflow.FromFile}
		d.decodeOutput(o, fmt.Sprintf("of output %s", name))
		if attr := b.Body.Attributes["from"]; attr != nil && o.from == workflow.FromStdout && t.kindOfBody == workflow.BodyGroup {
			d.errorf(attr.Expr.Range(), "Whose output?", "A group has several tasks, so standard output is not one text. Let a task of it write output %s to the file $CAIRN_OUTPUT, which they share.", name)
		}
		t.outputByID[name] = o
		t.outputs = append(t.outputs, o)
	}
	if n := len(t.outputs); n > workflow.MaxRunOutputsNumber {
		d.errorf(t.block.TypeRange, "Too many outputs", "task %s has %d outputs, at most %d are possible.", t.name, n, workflow.MaxRunOutputsNumber)
	}
}

func (d *decoder) decodeOutput(o *output, of string) {
	body := o.block.Body
	if attr := body.Attributes["type"]; attr != nil {
		o.ty, o.defaults = d.typeConstraint(attr)
		o.typeText, o.typeRange = d.sourceText(attr.Expr.Range()), attr.Expr.Range()
	}
	if v, ok := d.constant(body, "sensitive", kindBool); ok {
		o.sensitive = v.True()
	}
	if v, ok := d.constant(body, "from", kindWord(workflow.FromFile, workflow.FromStdout)); ok {
		o.from = workflow.OutputFrom(v.AsString())
	}
	if attr := body.Attributes["pattern"]; attr != nil {
		if v, ok := d.constant(body, "pattern", kindText); ok {
			o.pattern = v.AsString()
			if _, err := regexp.Compile(o.pattern); err != nil {
				d.errorf(attr.Expr.Range(), "Invalid pattern", "The pattern %s is no regular expression: %s.", of, err)
			}
		}
		if o.from != workflow.FromStdout {
			d.errorf(attr.NameRange, "Pattern without stdout", "pattern looks through standard output: write from = \"stdout\" beside it.")
		}
	}
	if attr := body.Attributes["default"]; attr != nil {
		o.fallback = &site{name: "`default` " + of, expr: attr.Expr, access: accessConst, kind: kindAny}
	}
}

// typeWords are the words that types begin with.
var typeWords = []string{"string", "number", "bool", "any", "list", "set", "map", "object", "tuple"}

// typeConstraint reads a type such as list(string). One that cannot be read is any.
func (d *decoder) typeConstraint(attr *hclsyntax.Attribute) (cty.Type, *typeexpr.Defaults) {
	if v, diags := attr.Expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		d.errorf(attr.Expr.Range(), "Invalid type", "A type is written without quotes: type = %s.", shorten(v.AsString()))
		return cty.DynamicPseudoType, nil
	}
	ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(attr.Expr)
	for _, diag := range diags {
		if _, keyword, ok := strings.Cut(diag.Detail, "eyword \""); ok {
			keyword, _, _ = strings.Cut(keyword, "\"")
			diag.Detail += cmp.Or(didYouMean(keyword, typeWords), " Types are string, number, bool, any, list(…), set(…), map(…), tuple([…]) and object({ … }).")
		}
	}
	d.add(diags)
	if diags.HasErrors() {
		return cty.DynamicPseudoType, nil
	}
	return ty, defaults
}

// sourceText is the text of a file between two places.
func (d *decoder) sourceText(r hcl.Range) string { return d.module.text(r) }

func (m *module) text(r hcl.Range) string {
	src := m.bytes[r.Filename]
	if r.Start.Byte < 0 || r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
		return ""
	}
	return string(src[r.Start.Byte:r.End.Byte])
}
