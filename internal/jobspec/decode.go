// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
)

var constraintType = reflect.TypeFor[nomadapi.Constraint]()

// decoder evaluates bodies whose names were checked and puts the values into Go structs.
type decoder struct {
	checking bool // unknown values are allowed, and the result is thrown away
	verbatim bool // whole job files: text is stored as it was evaluated
	asNomad  bool // Nomad's own defaults hold, and nothing is refused that its parser takes
	unknown  bool // an unknown value was met
	// needsDollar: the env of the task being decoded refers to dollarMeta.
	needsDollar bool
	diags       hcl.Diagnostics
}

func (d *decoder) errorf(expr hclsyntax.Expression, summary, format string, args ...any) {
	at := expr.Range()
	d.diags = append(d.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...),
		Subject: &at, Expression: expr,
	})
}

// newTargets allocates the structs that a body of schema s fills, as pointers.
func newTargets(s *schema) []reflect.Value {
	targets := make([]reflect.Value, len(s.types))
	for i, t := range s.types {
		targets[i] = reflect.New(t)
	}
	return targets
}

// body decodes b into targets, the structs of s.
func (d *decoder) body(b *hclsyntax.Body, ctx *hcl.EvalContext, s *schema, targets []reflect.Value, at hcl.Range) {
	blocks := d.expand(b.Blocks, ctx)
	for _, f := range s.fields {
		dst := targets[f.target].Elem().Field(f.index)
		attr := b.Attributes[f.name]
		switch f.form {
		case formAttr:
			if attr != nil {
				d.assign(attr.Expr, ctx, f, f.name, f.want, dst)
			}
		case formMap:
			if attr != nil {
				d.assign(attr.Expr, ctx, f, f.name, cty.Map(f.want), dst)
			} else if block := d.single(blocks[f.name], f); block != nil {
				d.mapBlock(block, f, dst)
			}
		case formFree:
			if block := d.single(blocks[f.name], f); block != nil {
				if m := d.freeBody(block.body, block.ctx, f, true); m != nil {
					dst.Set(reflect.ValueOf(m))
				}
			}
		case formBlock:
			if block := d.single(blocks[f.name], f); block != nil {
				dst.Set(pointerTo(d.element(block, f), dst.Type()))
			}
		case formList:
			for _, block := range blocks[f.name] {
				dst.Set(reflect.Append(dst, pointerTo(d.element(block, f), dst.Type().Elem())))
			}
		case formKeyed:
			for _, block := range blocks[f.name] {
				if dst.IsNil() {
					dst.Set(reflect.MakeMap(dst.Type()))
				}
				if len(block.labels) > 0 {
					dst.SetMapIndex(reflect.ValueOf(block.labels[0]), d.element(block, f))
				}
			}
		}
	}
	if s.finish != nil {
		diags := s.finish(d, targets, at)
		if !d.unknown {
			d.diags = append(d.diags, diags...)
		}
	}
}

// pointerTo returns v, which is a pointer, as the type wanted: itself or what it points to.
func pointerTo(v reflect.Value, want reflect.Type) reflect.Value {
	if want.Kind() == reflect.Pointer {
		return v
	}
	return v.Elem()
}

// element decodes one block and returns a pointer to its struct.
func (d *decoder) element(block *instance, f *field) reflect.Value {
	targets := newTargets(f.elem)
	for i, l := range f.elem.labels {
		if i >= len(block.labels) {
			break
		}
		dst := targets[l.target].Elem().Field(l.index)
		if dst.Kind() == reflect.Pointer {
			text := block.labels[i]
			dst.Set(reflect.ValueOf(&text))
		} else {
			dst.SetString(block.labels[i])
		}
	}
	d.body(block.body, block.ctx, f.elem, targets, block.at)
	return targets[0]
}

// single returns the only block of a name that may be written once. A dynamic block may have made several.
func (d *decoder) single(blocks []*instance, f *field) *instance {
	if len(blocks) == 0 {
		return nil
	}
	if len(blocks) > 1 {
		d.diags = append(d.diags, errorAt(blocks[1].at, "Duplicate block",
			"%s may be written once; the first one is at %s.", f.name, lineOf(blocks[0].at))...)
	}
	return blocks[0]
}

// mapBlock decodes name { key = value }.
func (d *decoder) mapBlock(block *instance, f *field, dst reflect.Value) {
	m := reflect.MakeMapWithSize(dst.Type(), len(block.body.Attributes))
	for _, name := range sortedNames(block.body.Attributes) {
		elem := reflect.New(dst.Type().Elem()).Elem()
		d.assign(block.body.Attributes[name].Expr, block.ctx, f, name, f.want, elem)
		m.SetMapIndex(reflect.ValueOf(name), elem)
	}
	dst.Set(m)
}

// freeBody decodes a body that has no schema: nested blocks become lists of objects, their labels lists of one element
// around them; an argument written as an object becomes a list of one element too; a block wins over an argument of its
// name. At the top, null means absent.
func (d *decoder) freeBody(b *hclsyntax.Body, ctx *hcl.EvalContext, f *field, top bool) map[string]any {
	m := make(map[string]any, len(b.Attributes)+len(b.Blocks))
	text := d.text(f)
	for _, name := range sortedNames(b.Attributes) {
		expr := b.Attributes[name].Expr
		v, ok := d.value(expr, ctx, name)
		if !ok || !v.IsWhollyKnown() {
			continue
		}
		plain, err := freeValue(v, text)
		if err != nil {
			d.errorf(expr, "Wrong value", "%s %s.", name, err)
			continue
		}
		if _, literal := expr.(*hclsyntax.ObjectConsExpr); literal {
			plain = []any{plain}
		}
		if plain != nil || !top {
			m[name] = plain
		}
	}
	for name, blocks := range d.expand(b.Blocks, ctx) {
		list := make([]any, 0, len(blocks))
		for _, block := range blocks {
			inner := d.freeBody(block.body, block.ctx, f, false)
			for i := len(block.labels) - 1; i >= 0; i-- {
				inner = map[string]any{block.labels[i]: []any{inner}}
			}
			list = append(list, inner)
		}
		m[name] = list
	}
	return m
}
