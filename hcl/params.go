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

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Given is the value of one param as a submitter gave it: Text from -param, or JSON from a file or another program. Text is
// meant when JSON is nil.
type Given struct {
	Text string
	JSON json.RawMessage
	// Sensitive marks a value that was sensitive where it comes from: a param of the run that starts this one.
	Sensitive bool
}

// GivenByParent turns the params of a child run, as its parent's body gives them, into what Params takes.
func GivenByParent(params map[string]workflow.Value) map[string]Given {
	out := make(map[string]Given, len(params))
	for name, v := range params {
		if v.JSON == nil {
			v.JSON = json.RawMessage("null")
		}
		out[name] = Given{JSON: v.JSON, Sensitive: v.Sensitive}
	}
	return out
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
	s := &settling{findings: f, flow: fl, given: given, about: run, values: map[string]cty.Value{}, secrets: map[string]bool{}}
	s.all()
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	out, size := make(map[string]workflow.Value, len(s.values)), 0
	for name, v := range s.values {
		p := fl.paramByName[name]
		value, err := fromCty(v)
		if err != nil {
			f.errorf(p.block.DefRange(), "Invalid param", "param %s %s.", name, err)
			continue
		}
		value.Sensitive = s.secrets[name]
		out[name] = value
		size += len(value.JSON)
	}
	if size > workflow.MaxParamBytes {
		f.errorf(fl.block.DefRange(), "Params too large", "The params have %d bytes together, at most %d are allowed. Put large data where the tasks can read it, and pass its name.", size, workflow.MaxParamBytes)
	}
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	if wrong := fl.checkWith(s, out); wrong.HasErrors() {
		return nil, wrong
	}
	return out, f.sorted()
}

// checkWith checks the tasks that are sure to begin again, now that the params are known, and gives the errors. Whether any
// other task begins is the run's to tell, and what guards it may be what keeps it right.
func (fl *flow) checkWith(s *settling, values map[string]workflow.Value) Diagnostics {
	f := &findings{}
	frame := newFrame(fl, unknownWorld{flow: fl, values: s.values, secrets: s.secrets})
	for _, t := range fl.tasks {
		c := newChecker(fl, &findings{})
		c.frame, c.scope = frame, &workflow.Scope{Shared: &workflow.Shared{Params: values}}
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

// settling is how the params of a run get their values. It is also the world they are settled in.
type settling struct {
	*findings
	flow    *flow
	given   map[string]Given
	about   workflow.RunValues
	values  map[string]cty.Value // without marks
	secrets map[string]bool      // of those in values that are sensitive
}

func (s *settling) params() map[string]cty.Value {
	out := make(map[string]cty.Value, len(s.values))
	for name, v := range s.values {
		if s.secrets[name] {
			v = v.Mark(sensitive)
		}
		out[name] = v
	}
	return out
}

func (s *settling) run() map[string]cty.Value { return runValues(s.about) }

func (s *settling) task(string) (cty.Value, cty.Value) { return cty.DynamicVal, cty.DynamicVal }

// reads reports whether an expression reads something sensitive.
func (s *settling) reads(r *refs) bool {
	return slices.ContainsFunc(r.params, func(name string) bool { return s.secrets[name] }) || s.flow.readsSecret(r, nil)
}

// all settles the params of a run, each after those its default needs.
func (s *settling) all() {
	names := make([]string, len(s.flow.params))
	for i, p := range s.flow.params {
		names[i] = p.name
	}
	for _, name := range sortedKeys(s.given) {
		if s.flow.paramByName[name] == nil {
			s.errorf(s.flow.block.DefRange(), "Unknown param", "workflow %s has no param %s.%s", s.flow.name, shorten(name), didYouMean(name, names))
		}
	}
	for _, p := range s.flow.paramOrder {
		s.secrets[p.name] = p.sensitive || s.given[p.name].Sensitive
		v, err := s.settle(p)
		if err != nil {
			s.errorf(p.block.DefRange(), "Invalid param", "param %s %s", p.name, sentence(err))
		}
		if v != cty.NilVal {
			s.values[p.name] = v
		}
	}
	if s.list.HasErrors() {
		return
	}
	for _, p := range s.flow.params {
		s.validate(p)
	}
}

// settle finds the value of one param. No value and no error means that what it needs was refused.
func (s *settling) settle(p *param) (cty.Value, error) {
	g, ok := s.given[p.name]
	secret := s.secrets[p.name]
	switch {
	case !ok && p.fallback == nil:
		return cty.NilVal, errors.New("is required and was not given. Give it with -param " + p.name + "=…")
	case !ok:
		return s.fallback(p)
	case g.JSON != nil:
		v, err := toCty(g.JSON, cty.DynamicPseudoType)
		if err != nil {
			return cty.NilVal, hide(p.ty, err, secret)
		}
		return p.take(v, secret)
	case p.ty == cty.String:
		return p.take(cty.StringVal(g.Text), secret)
	}
	v, err := textValue(g.Text)
	if err != nil {
		if p.ty == cty.DynamicPseudoType && namelike(g.Text) {
			return p.take(cty.StringVal(g.Text), secret)
		}
		if (p.ty == cty.Number || p.ty == cty.Bool) && hclsyntax.ValidIdentifier(g.Text) { // quotes would not help
			return cty.NilVal, hide(p.ty, fmt.Errorf("must be %s, not %s", wantType(p.ty), shorten(g.Text)), secret)
		}
		return cty.NilVal, hide(p.ty, fmt.Errorf("must be %s, and the text given is no such value: %w", wantType(p.ty), err), secret)
	}
	return p.take(v, secret)
}

// fallback is the default of a param. What it is computed from may be sensitive; then so is the param.
func (s *settling) fallback(p *param) (cty.Value, error) {
	if slices.ContainsFunc(p.fallback.refs.params, func(name string) bool { return s.values[name] == cty.NilVal }) {
		return cty.NilVal, nil
	}
	v, diags := newFrame(s.flow, s).evaluate(p.fallback, forValue)
	if diags.HasErrors() {
		if s.secrets[p.name] || s.reads(p.fallback.refs) {
			return cty.NilVal, errors.New("has a default that cannot be evaluated; because it is sensitive, the reason is not shown")
		}
		s.add(diags)
		return cty.NilVal, nil
	}
	s.secrets[p.name] = s.secrets[p.name] || v.ContainsMarked()
	v, _ = v.UnmarkDeep()
	return p.take(v, s.secrets[p.name])
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
		if vars := jobspec.Variables(expr); len(vars) > 0 {
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

// take converts a value, known or not, to the param's type. The error shows nothing of a value that is secret.
func (p *param) take(v cty.Value, secret bool) (cty.Value, error) {
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
		return cty.NilVal, unfit(p.ty, err, secret)
	}
	return conv, nil
}

// validate evaluates the validations of a param with every param settled.
func (s *settling) validate(p *param) {
	frame := newFrame(s.flow, s)
	for _, v := range p.validations {
		ok, diags := frame.evaluate(v.condition, forValue)
		if !diags.HasErrors() {
			ok, _ = ok.UnmarkDeep()
			var err error
			if ok, err = kindBool.convert(ok); err == nil && ok.IsKnown() && ok.True() {
				continue
			}
		}
		if diags.HasErrors() && !s.secrets[p.name] && !s.reads(v.condition.refs) {
			s.errorf(p.block.DefRange(), "Invalid param", "The validation of param %s at %s cannot be evaluated: %s", p.name, where(v.condition.at()), diags[0].Detail)
			continue
		}
		s.errorf(p.block.DefRange(), "Invalid param", "param %s: %s", p.name, validationMessage(frame, v))
	}
}

// validationMessage evaluates an error_message, unless it would show a sensitive value.
func validationMessage(frame *frame, v *validation) string {
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
		if vars := jobspec.Variables(attr.Expr); len(vars) > 0 {
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
