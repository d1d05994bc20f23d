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
