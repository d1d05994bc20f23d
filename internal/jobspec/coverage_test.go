// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
)

// fieldNames walks every field a body can hold, as "Task.kill_timeout". visit says whether to go on inside of it.
func fieldNames(s *schema, visit func(s *schema, f *field, name string) bool) {
	seen := map[*schema]bool{}
	var walk func(s *schema)
	walk = func(s *schema) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, f := range s.fields {
			if visit(s, f, s.types[f.target].Name()+"."+f.name) && f.elem != nil {
				walk(f.elem)
			}
		}
	}
	walk(s)
}

// written adds the fields that a body writes.
func written(b *hclsyntax.Body, s *schema, names map[string]bool) {
	note := func(name string) *field {
		f := s.byName[name]
		if f != nil {
			names[s.types[f.target].Name()+"."+name] = true
		}
		return f
	}
	for name := range b.Attributes {
		note(name)
	}
	for _, block := range b.Blocks {
		name, body := block.Type, block.Body
		if name == dynamicName {
			name, body = block.Labels[0], contentOf(block).Body
		}
		if f := note(name); f != nil && f.elem != nil {
			written(body, f.elem, names)
		}
	}
}

// Every tag of every struct that a job can hold is a field of some body, found here by the types alone.
func TestTheSchemasHoldEveryTagOfTheAPI(t *testing.T) {
	known := map[string]bool{}
	labels := map[string]int{}
	counted := map[*schema]bool{}
	fieldNames(bodies().job, func(s *schema, _ *field, name string) bool {
		known[name] = true
		for _, l := range s.labels {
			if !counted[s] {
				labels[s.types[l.target].Name()]++
			}
		}
		counted[s] = true
		return true
	})
	tags := 0
	visited := map[reflect.Type]bool{}
	var walk func(ty reflect.Type)
	walk = func(ty reflect.Type) {
		for ty.Kind() == reflect.Pointer || ty.Kind() == reflect.Slice || ty.Kind() == reflect.Map {
			ty = ty.Elem()
		}
		if ty.Kind() != reflect.Struct || visited[ty] {
			return
		}
		visited[ty] = true
		wantLabels := 0
		for i := range ty.NumField() {
			f := ty.Field(i)
			tag, ok := f.Tag.Lookup("hcl")
			name, kind, _ := strings.Cut(tag, ",")
			switch {
			case !ok || tag == "-":
				continue
			case kind == "label":
				wantLabels++
			case !known[ty.Name()+"."+name]:
				t.Errorf("no body has the field %s.%s", ty.Name(), name)
			}
			tags++
			walk(f.Type)
		}
		if labels[ty.Name()] != wantLabels {
			t.Errorf("%s has %d labels, the schemas know %d", ty.Name(), wantLabels, labels[ty.Name()])
		}
	}
	walk(reflect.TypeFor[nomadapi.Job]())
	t.Logf("%d tags in %d structs", tags, len(visited))
	if tags < 300 {
		t.Error("there were 300 tags and more")
	}
}

// The comparison with Nomad proves of a field only what some file writes.
func TestOwnJobFilesWriteEveryFieldOfTheAPI(t *testing.T) {
	inJobs, inGroups := map[string]bool{}, map[string]bool{}
	for _, f := range corpus(t) {
		if !strings.HasPrefix(f.name, "own/") || strings.HasPrefix(f.name, "own/bad-") {
			continue
		}
		parse := func(src []byte) *hclsyntax.Body {
			file, diags := hclsyntax.ParseConfig(src, f.name, hcl.InitialPos)
			if diags.HasErrors() {
				t.Fatalf("%s: %v", f.name, diags)
			}
			return file.Body.(*hclsyntax.Body)
		}
		for _, b := range parse(f.src).Blocks {
			if b.Type == "job" {
				written(b.Body, bodies().job, inJobs)
			}
		}
		_, pieces, _ := groupForm.pieces(f)
		for _, p := range pieces {
			written(parse([]byte(p.body)), bodies().grouped, inGroups)
		}
	}
	missing := func(form string, s *schema, names map[string]bool, refused func(s *schema, name string) bool) {
		var missing []string
		fieldNames(s, func(s *schema, f *field, name string) bool {
			if refused(s, f.name) {
				return false
			}
			if !names[name] {
				missing = append(missing, name)
			}
			return true
		})
		slices.Sort(missing)
		if missing = slices.Compact(missing); len(missing) > 0 {
			t.Errorf("no file in testdata/jobs writes these fields in the form %s, so nothing compares them with Nomad:\n%s", form, strings.Join(missing, "\n"))
		}
	}
	missing("job", bodies().job, inJobs, func(*schema, string) bool { return false })
	missing("group", bodies().grouped, inGroups, func(s *schema, name string) bool {
		owned := s == bodies().grouped.byName[groupName].elem || s.types[0] == reflect.TypeFor[nomadapi.Task]()
		return owned && refusedWords[name] != ""
	})
}
