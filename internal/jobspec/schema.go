// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"
)

// form says how a field is written in a body.
type form string

const (
	formAttr  form = "argument"       // name = value
	formMap   form = "map"            // name { key = value } or name = { key = value }: a map of plain values
	formFree  form = "free block"     // name { anything }: a driver's config, which has no schema here
	formBlock form = "block"          // name { … }, at most once
	formList  form = "repeated block" // name { … }, any number
	formKeyed form = "labelled block" // name "key" { … }, any number, into a map
)

// field is one name that a body may hold.
type field struct {
	name     string
	form     form
	target   int // which of the structs of the body holds it
	index    int // its index in that struct
	typ      reflect.Type
	want     cty.Type // what an argument, or an element of a map, is converted to
	required bool
	elem     *schema // of blocks
	// reading says what becomes of the field's text when it has left Cairn.
	reading reading
}

// label is a field of a struct that is written as a label of its block.
type label struct {
	name   string
	target int
	index  int
}

// schema describes one kind of body. A body may fill several structs at once: the first one is what the block stands
// for, the others hold what its tags leave out (see overlays). A name that several of them have goes to the first.
type schema struct {
	types  []reflect.Type
	labels []label
	fields []*field // in the order of the structs, which is the order of diagnostics
	byName map[string]*field
	finish finisher
}

// isBlock reports whether the field is written as a block (a map may also be an argument).
func (f *field) isBlock() bool { return f.form != formAttr }

// once reports whether a second block of that name is an error.
func (f *field) once() bool { return f.form == formMap || f.form == formFree || f.form == formBlock }

// labelNames are the labels that a block of this name takes.
func (f *field) labelNames() []string {
	if f.elem == nil {
		return nil
	}
	names := make([]string, len(f.elem.labels))
	for i, l := range f.elem.labels {
		names[i] = l.name
	}
	return names
}

var durationType = reflect.TypeFor[time.Duration]()

// schemas are the bodies that this package decodes.
type schemas struct {
	inline  *schema // a task of a workflow with one Nomad task
	grouped *schema // a task of a workflow with a group block
	job     *schema // a job block
}

// bodies derives all schemas from the tags. They are computed once and never change.
var bodies = sync.OnceValue(func() *schemas {
	b := &schemaBuilder{done: map[string]*schema{}}
	job := b.of(reflect.TypeFor[nomadapi.Job](), overlays[reflect.TypeFor[nomadapi.Job]()])
	group := job.byName["group"].elem
	task := group.byName["task"].elem
	inline := b.of(task.types[0], group.types[0], job.types[0])
	inline.labels = nil // the block that holds the body is Cairn's
	inline.finish = task.finish
	return &schemas{inline: inline, grouped: groupedSchema(group, job), job: job}
})

// groupedSchema is a group block without a label, and what of a job may stand beside it.
func groupedSchema(group, job *schema) *schema {
	unnamed := *group
	unnamed.labels = nil
	holder := reflect.TypeFor[groupHolder]()
	s := &schema{types: []reflect.Type{holder, job.types[0]}, finish: finishers[holder]}
	s.fields = []*field{{name: groupName, form: formBlock, typ: holder.Field(0).Type, elem: &unnamed}}
	for _, f := range job.fields {
		if f.target == 0 && placementWords[f.name] {
			beside := *f
			beside.target = 1
			s.fields = append(s.fields, &beside)
		}
	}
	s.byName = make(map[string]*field, len(s.fields))
	for _, f := range s.fields {
		s.byName[f.name] = f
	}
	return s
}

// schemaBuilder builds schemas, each once.
type schemaBuilder struct {
	done map[string]*schema
}

// of returns the schema of a body that fills values of the given types. Nil types are left out.
func (b *schemaBuilder) of(types ...reflect.Type) *schema {
	var key strings.Builder
	s := &schema{byName: map[string]*field{}}
	for _, t := range types {
		if t == nil {
			continue
		}
		s.types = append(s.types, t)
		fmt.Fprintf(&key, "%s.%s ", t.PkgPath(), t.Name())
	}
	if known := b.done[key.String()]; known != nil {
		return known
	}
	b.done[key.String()] = s
	s.finish = finishers[s.types[0]]
	for target, t := range s.types {
		for i := range t.NumField() {
			b.add(s, target, t, t.Field(i), i)
		}
	}
	return s
}

// add reads the tag of one struct field.
func (b *schemaBuilder) add(s *schema, target int, parent reflect.Type, sf reflect.StructField, index int) {
	tag, ok := sf.Tag.Lookup("hcl")
	if !ok || tag == "-" {
		return
	}
	name, kind, _ := strings.Cut(tag, ",")
	if kind == "label" {
		if name == "" {
			name = "name"
		}
		s.labels = append(s.labels, label{name: name, target: target, index: index})
		return
	}
	if s.byName[name] != nil {
		return
	}
	f := &field{name: name, target: target, index: index, typ: sf.Type}
	f.reading = readings[fieldOf{parent, name}]
	elem := sf.Type
	switch elem.Kind() {
	case reflect.Slice, reflect.Pointer:
		elem = elem.Elem()
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
	}
	switch {
	case sf.Type.Kind() == reflect.Map && sf.Type.Elem().Kind() == reflect.Interface:
		f.form = formFree
	case sf.Type.Kind() == reflect.Map && kind == "block" && sf.Type.Elem().Kind() == reflect.Pointer:
		f.form = formKeyed
		elem = sf.Type.Elem().Elem()
	case sf.Type.Kind() == reflect.Map:
		f.form = formMap
		f.want = impliedType(sf.Type.Elem())
	case kind == "block" && sf.Type.Kind() == reflect.Slice:
		f.form = formList
	case kind == "block":
		f.form = formBlock
	default:
		f.form = formAttr
		f.required = kind == "" && sf.Type.Kind() != reflect.Pointer
		f.want = impliedType(sf.Type)
	}
	if f.form == formBlock || f.form == formList || f.form == formKeyed {
		extra := overlays[elem]
		if own := fieldOverlays[fieldOf{parent, name}]; own != nil {
			extra = own
		}
		f.elem = b.of(elem, extra)
	}
	s.fields = append(s.fields, f)
	s.byName[name] = f
}

// impliedType is the type an expression is converted to before it is put into a Go value. A type of the api module that
// has none is a mistake of this package, found by the first test that asks for any schema.
func impliedType(t reflect.Type) cty.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == durationType {
		return cty.DynamicPseudoType
	}
	ty, err := gocty.ImpliedType(reflect.Zero(t).Interface())
	if err != nil {
		panic(fmt.Sprintf("jobspec: no HCL type for %s: %v", t, err))
	}
	return ty
}
