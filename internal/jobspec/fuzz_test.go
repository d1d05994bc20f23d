// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// FuzzBodies feeds any text to all three decoders. Whatever is written, there are diagnostics or a job, the job has one
// canonical form, and a body that decodes was not called wrong by the check.
func FuzzBodies(f *testing.F) {
	files, err := filepath.Glob("testdata/jobs/*.nomad.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		src := readFile(f, path)
		f.Add(string(src))
		file := corpusFile{src: src}
		for _, form := range []*bodyForm{&groupForm, &inlineForm} {
			preamble, pieces, _ := form.pieces(file)
			for _, p := range pieces {
				f.Add(string(jobOf(file, preamble, p).src))
				f.Add(p.body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<16 {
			return // longer inputs only make the same things slower
		}
		vars := map[string]cty.Value{"param": object("x", "${y}"), "each": cty.DynamicVal}
		ctx := evalContext(vars)
		// These answer differently every time, or take their time on purpose.
		for _, name := range []string{"uuidv4", "bcrypt", "rsadecrypt", "range", "setproduct", "cidrsubnets", "pow", "indent", "format", "formatlist"} {
			delete(ctx.Functions, name)
		}
		if file, diags := CompileJob("fuzz.hcl", []byte(src), ctx.Functions); !diags.HasErrors() {
			if job, diags := file.Decode(nil); !diags.HasErrors() {
				mustBeCanonical(t, job)
			}
		}
		parsed, diags := hclsyntax.ParseConfig([]byte(src), "fuzz.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		opts := Options{Sources: map[string][]byte{"fuzz.hcl": []byte(src)}}
		body := parsed.Body.(*hclsyntax.Body)
		if group, diags := CompileGroup(body, opts); !diags.HasErrors() {
			group.Variables()
			checked := group.Check(ctx)
			if g, diags := group.DecodeGroup(ctx); !diags.HasErrors() {
				if checked.HasErrors() {
					t.Fatalf("decodes, though the check said: %v", checked)
				}
				mustBeCanonical(t, g.Assemble("fuzz"))
			}
		}
		task, diags := CompileTask(Merge(body, body), opts)
		if diags.HasErrors() {
			return
		}
		task.Variables()
		checked := task.Check(ctx)
		in, diags := task.DecodeTask(ctx)
		if diags.HasErrors() {
			return
		}
		if checked.HasErrors() {
			t.Fatalf("decodes, though the check said: %v", checked)
		}
		mustBeCanonical(t, in.Assemble("fuzz"))
	})
}

func mustBeCanonical(t *testing.T, v any) {
	t.Helper()
	first, err := Canonical(v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Canonical(v)
	if err != nil || string(first) != string(again) {
		t.Fatalf("%v: two forms of one job\n%s\n%s", err, first, again)
	}
}
