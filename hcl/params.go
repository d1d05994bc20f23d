// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Given is the value of one param as a submitter gave it: Text from -param, or JSON from a file or another program. Text is
// meant when JSON is nil.
type Given struct {
	Text string
	JSON json.RawMessage
}

// Params converts what a submitter gave, fills in defaults and checks the validations. Params that are refused are findings
// at the params' blocks. run holds what is known at submit.
func Params(def *workflow.Definition, given map[string]Given, run workflow.RunValues) (map[string]workflow.Value, Diagnostics) {
	if len(def.Params)+len(given) == 0 {
		return map[string]workflow.Value{}, nil // without reading the files again
	}
	f := &findings{}
	fl, ok := reopen(def, f)
	if !ok {
		return nil, f.sorted()
	}
	fl.link(f)
	values := fl.settleAll(given, run, f)
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	out, size := make(map[string]workflow.Value, len(values)), 0
	for name, v := range values {
		p := fl.paramByName[name]
		value, err := fromCty(v)
		if err != nil {
			f.errorf(p.block.DefRange(), "Invalid param", "param %s %s.", name, err)
			continue
		}
		value.Sensitive = value.Sensitive || p.sensitive
		out[name] = value
		size += len(value.JSON)
	}
	if size > workflow.MaxParamBytes {
		f.errorf(fl.block.DefRange(), "Params too large", "The params have %d bytes together, at most %d are allowed. Put large data where the tasks can read it, and pass its name.", size, workflow.MaxParamBytes)
	}
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	if wrong := fl.checkWith(values); wrong.HasErrors() {
		return nil, wrong
	}
	return out, f.sorted()
}

// checkWith checks the tasks that are sure to begin again, now that the params are known, and gives the errors. Whether any
// other task begins is the run's to tell, and what guards it may be what keeps it right.
func (fl *flow) checkWith(values map[string]cty.Value) Diagnostics {
	f := &findings{}
	frame := newFrame(fl, unknownWorld{flow: fl, values: values})
	for _, t := range fl.tasks {
		c := newChecker(fl, &findings{})
		c.frame = frame
		if out := c.compileTask(t); len(out.DependsOn)+len(out.Refs) == 0 && c.begins(t) {
			f.list = append(f.list, c.findings.list...)
		}
	}
	return slices.DeleteFunc(f.sorted(), func(d Diagnostic) bool { return d.Severity != SeverityError })
}

// begins reports whether the values that are known make a task without predecessors have an instance, or are wrong.
func (c *checker) begins(t *task) bool {
	for _, s := range []*site{t.when, t.count, t.forEach} {
		if s == nil {
			continue
		}
		v, ok := c.value(s)
		switch {
		case !ok:
			return true
		case !v.IsWhollyKnown(), s == t.when && v.False(), s == t.count && v.RawEquals(cty.Zero), s == t.forEach && v.LengthInt() == 0:
			return false
		}
	}
	return true
}

// reopen reads the flow of a definition again.
func reopen(def *workflow.Definition, f *findings) (*flow, bool) {
	b := newBundle(def.Files, f)
	m := b.module(b.own(), f)
	if f.list.HasErrors() && m.broken {
		return nil, false
	}
	b.connect(f)
	fl := m.flow(def.Name)
	if fl == nil {
		f.errorf(hcl.Range{}, "Unknown workflow", "The files of the definition declare no workflow %s.", def.Name)
	}
	return fl, !f.list.HasErrors()
}

// settleAll settles the params of a run.
func (fl *flow) settleAll(given map[string]Given, run workflow.RunValues, f *findings) map[string]cty.Value {
	names := make([]string, len(fl.params))
	for i, p := range fl.params {
		names[i] = p.name
	}
	for name := range given {
		if fl.paramByName[name] == nil {
			f.errorf(fl.block.DefRange(), "Unknown param", "workflow %s has no param %s.%s", fl.name, shorten(name), didYouMean(name, names))
		}
	}
	values := map[string]cty.Value{}
	for _, p := range fl.paramOrder {
		v, err := fl.settle(p, given, values, run, f)
		if err != nil {
			f.errorf(p.block.DefRange(), "Invalid param", "param %s %s", p.name, sentence(err))
		}
		if v != cty.NilVal {
			values[p.name] = v
		}
	}
	if f.list.HasErrors() {
		return nil
	}
	for _, p := range fl.params {
		fl.validate(p, values, run, f)
	}
	return values
}

// submitWorld is what is known when a run is submitted.
type submitWorld struct {
	flow   *flow
	values map[string]cty.Value
	about  workflow.RunValues
}

func (w submitWorld) params() map[string]cty.Value {
	out := make(map[string]cty.Value, len(w.values))
	for name, v := range w.values {
		if w.flow.paramByName[name].sensitive {
			v = v.Mark(sensitive)
		}
		out[name] = v
	}
	return out
}

func (w submitWorld) run() map[string]cty.Value { return runValues(w.about) }

func (w submitWorld) task(string) (cty.Value, cty.Value) { return cty.DynamicVal, cty.DynamicVal }

// settle finds the value of one param; those its default needs are settled already. No value and no error means that what
// it needs was refused.
func (fl *flow) settle(p *param, given map[string]Given, values map[string]cty.Value, run workflow.RunValues, f *findings) (cty.Value, error) {
	g, ok := given[p.name]
	switch {
	case !ok && p.fallback == nil:
		return cty.NilVal, errors.New("is required and was not given. Give it with -param " + p.name + "=…")
	case !ok:
		if slices.ContainsFunc(p.fallback.refs.params, func(name string) bool { return values[name] == cty.NilVal }) {
			return cty.NilVal, nil
		}
		v, diags := newFrame(fl, submitWorld{fl, values, run}).evaluate(p.fallback, forValue)
		if diags.HasErrors() {
			if fl.readsSecret(p.fallback.refs, nil) || p.sensitive {
				return cty.NilVal, errors.New("has a default that cannot be evaluated; because it is sensitive, the reason is not shown")
			}
			f.add(diags)
			return cty.NilVal, nil
		}
		v, _ = v.UnmarkDeep()
		return p.take(v)
	case g.JSON != nil:
		v, err := toCty(g.JSON, cty.DynamicPseudoType)
		if err != nil {
			return cty.NilVal, hide(err, p.sensitive)
		}
		return p.take(v)
	case p.ty == cty.String:
		return p.take(cty.StringVal(g.Text))
	}
	v, err := textValue(g.Text)
	if err != nil {
		if p.ty == cty.DynamicPseudoType && namelike(g.Text) {
			return p.take(cty.StringVal(g.Text))
		}
		if (p.ty == cty.Number || p.ty == cty.Bool) && hclsyntax.ValidIdentifier(g.Text) { // quotes would not help
			return cty.NilVal, hide(fmt.Errorf("must be %s, not %s", wantType(p.ty), shorten(g.Text)), p.sensitive)
		}
		return cty.NilVal, hide(fmt.Errorf("must be %s, and the text given is no such value: %w", wantType(p.ty), err), p.sensitive)
	}
	return p.take(v)
}

// namelike reports whether text is a bare word or looks like a path or date: a param of any type takes it as text.
func namelike(s string) bool { return !strings.ContainsAny(s, "\"'`${}[]()") }

// textValue evaluates the text of -param as an expression without references.
func textValue(s string) (cty.Value, error) {
	if _, deep := tooDeep(workflow.File{Bytes: []byte(s)}); deep {
		return cty.NilVal, errors.New("it is nested too deeply")
	}
	expr, diags := hclsyntax.ParseExpression([]byte(s), "-param", hcl.InitialPos)
	if !diags.HasErrors() {
		if vars := expr.Variables(); len(vars) > 0 {
			return cty.NilVal, fmt.Errorf("it cannot refer to %s; text stands in quotes", traversalText(vars[0]))
		}
		var v cty.Value
		if v, diags = expr.Value(&hcl.EvalContext{Functions: functionsWithoutFiles()}); !diags.HasErrors() {
			v, _ = v.UnmarkDeep()
			return v, nil
		}
	}
	return cty.NilVal, errors.New(lowerFirst(strings.TrimSuffix(diags[0].Detail, ".")))
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// wantType is a type constraint as a person would write it.
func wantType(ty cty.Type) string {
	switch ty {
	case cty.String:
		return "text"
	case cty.Number:
		return "a number"
	case cty.Bool:
		return "true or false"
	}
	return typeexpr.TypeString(safeType(ty))
}

// take converts a value to the param's type.
func (p *param) take(v cty.Value) (cty.Value, error) {
	if v.IsKnown() && v.IsNull() {
		if !p.nullable {
			return cty.NilVal, errors.New("must not be null. Write nullable = true in it if null means something")
		}
		return cty.NullVal(safeType(p.ty)), nil
	}
	if p.defaults != nil {
		v = p.defaults.Apply(v)
	}
	conv, err := convert.Convert(v, p.ty)
	if err != nil {
		return cty.NilVal, hide(fmt.Errorf("must be %s: %w", wantType(p.ty), inPath(err)), p.sensitive)
	}
	return conv, nil
}

// fits reports what keeps a value, known or not, from being the param's default.
func (p *param) fits(v cty.Value) error {
	_, err := p.take(v)
	return err
}

// validate evaluates the validations of a param with every param settled.
func (fl *flow) validate(p *param, values map[string]cty.Value, run workflow.RunValues, f *findings) {
	frame := newFrame(fl, submitWorld{fl, values, run})
	for _, v := range p.validations {
		ok, diags := frame.evaluate(v.condition, forValue)
		if !diags.HasErrors() {
			ok, _ = ok.UnmarkDeep()
			var err error
			if ok, err = kindBool.convert(ok); err == nil && ok.IsKnown() && ok.True() {
				continue
			}
		}
		if diags.HasErrors() && !p.sensitive && !fl.readsSecret(v.condition.refs, nil) {
			f.errorf(p.block.DefRange(), "Invalid param", "The validation of param %s at %s cannot be evaluated: %s", p.name, where(v.condition.at()), diags[0].Detail)
			continue
		}
		f.errorf(p.block.DefRange(), "Invalid param", "param %s: %s", p.name, fl.validationMessage(frame, v))
	}
}

// validationMessage evaluates an error_message, unless it would show a sensitive value.
func (fl *flow) validationMessage(frame *frame, v *validation) string {
	msg, diags := frame.evaluate(v.message, forValue)
	if diags.HasErrors() || msg.ContainsMarked() || !msg.IsKnown() || msg.IsNull() {
		return fmt.Sprintf("the value is not allowed (see %s).", where(v.condition.at()))
	}
	if text, err := convert.Convert(msg, cty.String); err == nil {
		return text.AsString()
	}
	return "the value is not allowed."
}

// ParamFile reads values for params: attributes as in a .tfvars file, or a JSON object if the name ends in .json.
func ParamFile(name string, b []byte) (map[string]Given, Diagnostics) {
	f := &findings{}
	out := map[string]Given{}
	top := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if strings.EqualFold(filepath.Ext(name), ".json") {
		if err := jsonNotTooDeep(b); err != nil {
			f.errorf(top, "Invalid param file", "%s.", upperFirst(err.Error()))
			return nil, f.list
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(b, &raw); err != nil {
			f.errorf(top, "Invalid param file", "A param file in JSON is one object, name by name: %s.", err)
			return nil, f.list
		}
		for k, v := range raw {
			out[k] = Given{JSON: v}
		}
		return out, nil
	}
	sources, _ := parse([]workflow.File{{Path: name, Bytes: b}}, f)
	if f.list.HasErrors() || len(sources) == 0 {
		return nil, f.sorted()
	}
	body := sources[0].body
	for _, block := range body.Blocks {
		f.errorf(block.TypeRange, "Not a block", "A param file holds values: write %s = { … } with an equals sign.", block.Type)
	}
	for _, attr := range attrsInOrder(body) {
		if vars := attr.Expr.Variables(); len(vars) > 0 {
			f.errorf(vars[0].SourceRange(), "Not a constant", "A param file cannot refer to %s. Text stands in quotes.", traversalText(vars[0]))
			continue
		}
		v, diags := attr.Expr.Value(&hcl.EvalContext{Functions: functionsWithoutFiles()})
		f.add(diags)
		if diags.HasErrors() {
			continue
		}
		value, err := fromCty(v)
		if err != nil {
			f.errorf(attr.Expr.Range(), "Wrong value", "%s %s.", attr.Name, err)
			continue
		}
		out[attr.Name] = Given{JSON: value.JSON}
	}
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	return out, f.sorted()
}
