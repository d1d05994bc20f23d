// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// fieldNames walks every field a job can hold, as "Task.kill_timeout".
func fieldNames(s *schema, visit func(s *schema, f *field, name string)) {
	seen := map[*schema]bool{}
	var walk func(s *schema)
	walk = func(s *schema) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, f := range s.fields {
			visit(s, f, s.types[f.target].Name()+"."+f.name)
			if f.elem != nil {
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

func TestOwnJobFilesWriteEveryFieldOfTheAPI(t *testing.T) {
	names := map[string]bool{}
	for _, f := range corpus(t) {
		if !strings.HasPrefix(f.name, "own/") || strings.HasPrefix(f.name, "own/bad-") {
			continue
		}
		file, diags := hclsyntax.ParseConfig(f.src, f.name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", f.name, diags)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			if b.Type == "job" {
				written(b.Body, bodies().job, names)
			}
		}
	}
	var missing []string
	fieldNames(bodies().job, func(_ *schema, _ *field, name string) {
		if !names[name] {
			missing = append(missing, name)
		}
	})
	slices.Sort(missing)
	if missing = slices.Compact(missing); len(missing) > 0 {
		t.Errorf("no file in testdata/jobs writes these fields, so nothing compares them with Nomad:\n%s", strings.Join(missing, "\n"))
	}
}
