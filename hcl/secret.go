// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

var errHidden = errors.New("is not valid; because it is sensitive, it is not shown here")

// hide replaces an error about a value that is to be of a type, where it may quote a sensitive value.
func hide(ty cty.Type, err error, secret bool) error {
	switch {
	case !secret:
		return err
	case ty == cty.DynamicPseudoType:
		return errHidden
	}
	return fmt.Errorf("must be %s, which it is not; because it is sensitive, it is not shown here", wantType(ty))
}

// unfit says that a value does not convert to a type, and why, unless that could quote a sensitive value.
func unfit(ty cty.Type, err error, secret bool) error {
	return hide(ty, fmt.Errorf("must be %s: %w", wantType(ty), inPath(err)), secret)
}

// readsSecret reports whether an expression may read a sensitive value, through locals too: one declared so, or, where a
// scope is given, one that turned out so. Functions quote their arguments in errors, and what they quote may be any part or
// form of it, so such an error's text is not shown at all.
func (fl *flow) readsSecret(r *refs, scope *workflow.Scope) bool {
	if r == nil {
		return false
	}
	direct := func(r *refs) bool {
		if r == nil {
			return false
		}
		return r.secret || slices.ContainsFunc(r.params, func(name string) bool { return fl.paramSecret(name, scope) }) ||
			slices.ContainsFunc(r.wholly, func(name string) bool { return fl.taskSecret(name, "", scope) }) ||
			slices.ContainsFunc(r.outputs, func(ref outputRef) bool { return fl.taskSecret(ref.task, ref.output, scope) })
	}
	return direct(r) || anyLocal(r.locals, func(l *local) bool { return l.site.secret || direct(l.site.refs) })
}

// readsSecret is the same for one evaluation; what does not belong to the instance is found out once.
func (f *frame) readsSecret(r *refs, scope *workflow.Scope) bool {
	if r.each && scope.Each != nil && scope.Each.Value.Sensitive {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.secrets[r]
	if !ok {
		known = f.flow.readsSecret(r, scope)
		f.secrets[r] = known
	}
	return known
}

// secretKeys finds out whether the keys of a fan-out would show something sensitive, given the value of its for_each with its
// marks. Elements may well be sensitive, or hold what is, as long as no key is made of it. It returns the expression to blame.
func (f *frame) secretKeys(t *task, v cty.Value) *site {
	v, marks := v.Unmark()
	switch {
	case len(marks) == 0 && !v.ContainsMarked():
		return nil
	case t.key == nil:
		if len(marks) > 0 {
			return t.forEach
		}
		return nil
	}
	ctx, diags := f.context(t.key.refs, forValue)
	if diags.HasErrors() {
		return nil // reported at the local
	}
	shows := func(i int64, element cty.Value) bool {
		each := map[string]cty.Value{"value": element.WithMarks(marks), "index": cty.NumberIntVal(i)}
		key, _ := t.key.expr.Value(instanceContext(ctx, each, nil)) // what is wrong with it is found when it is used
		return key.ContainsMarked()
	}
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		if shows(0, cty.DynamicVal) {
			return t.key
		}
		return nil
	}
	i := int64(0)
	for it := v.ElementIterator(); it.Next(); i++ {
		if _, element := it.Element(); shows(i, element) {
			return t.key
		}
	}
	return nil
}

const (
	whySecretKeys = "is sensitive, and the keys of instances are shown everywhere. Use nonsensitive() around what may be shown."
	whySecretKey  = "is sensitive, and keys are shown everywhere. Use nonsensitive() if it may be shown."
)

func (fl *flow) paramSecret(name string, scope *workflow.Scope) bool {
	if p := fl.paramByName[name]; p != nil && p.sensitive {
		return true
	}
	return scope != nil && scope.Shared != nil && scope.Shared.Params[name].Sensitive
}

// taskSecret is the same for an output of a task, or any of them.
func (fl *flow) taskSecret(name, which string, scope *workflow.Scope) bool {
	meant := func(o string) bool { return which == "" || o == which }
	if t := fl.taskByName[name]; t != nil && slices.ContainsFunc(t.outputs, func(declared *output) bool { return declared.sensitive && meant(declared.name) }) {
		return true
	}
	if scope == nil || scope.Shared == nil || scope.Shared.Tasks[name] == nil {
		return false
	}
	for _, in := range scope.Shared.Tasks[name].Instances {
		for o, v := range in.Outputs {
			if v.Sensitive && meant(o) {
				return true
			}
		}
	}
	return false
}

// callsSensitive reports whether an expression, or a template that it renders, marks something as sensitive by itself.
func (m *module) callsSensitive(nodes ...hclsyntax.Node) bool {
	found := false
	for _, node := range nodes {
		hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // the visitor returns none
			call, ok := n.(*hclsyntax.FunctionCallExpr)
			switch {
			case !ok || found:
			case call.Name == "sensitive":
				found = true
			case call.Name == "templatefile" && len(call.Args) > 0:
				if written, err := constantPath(call.Args[0]); err == nil {
					if at, err := resolve(m.dir, written); err == nil {
						found = bytes.Contains(m.bundle.files[at].Bytes, []byte("sensitive"))
					}
				}
			}
			return nil
		})
	}
	return found
}

// mentionsSensitive is a quick look at whether callsSensitive has anything to find.
func (m *module) mentionsSensitive() bool {
	for _, name := range m.bundle.names {
		if bytes.Contains(m.bundle.files[name].Bytes, []byte("sensitive(")) {
			return true
		}
	}
	return false
}
