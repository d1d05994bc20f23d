// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// manyTasks is a file of n task blocks of eight lines.
func manyTasks(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "task \"t%d\" {\n  driver = \"docker\"\n  config {\n    image = \"registry.local/x:4\"\n"+
			"    args  = [\"--day\", param.day, \"--node\", \"${node.unique.name}\"]\n  }\n  kill_timeout = \"90s\"\n}\n", i)
	}
	return []byte(b.String())
}

// Two seconds of one core for 10,000 tasks is the limit for everything that `cairn validate` does after parsing.
func BenchmarkCheck10000InlineBodies(b *testing.B) {
	src := manyTasks(10_000)
	file, diags := hclsyntax.ParseConfig(src, "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	opts := Options{Sources: map[string][]byte{"test.hcl": src}}
	ctx := evalContext(map[string]cty.Value{"param": cty.ObjectVal(map[string]cty.Value{"day": cty.UnknownVal(cty.String)})})
	b.ReportAllocs()
	for b.Loop() {
		for _, block := range file.Body.(*hclsyntax.Body).Blocks {
			body, diags := CompileTask(block.Body, opts)
			if diags = append(diags, body.Check(ctx)...); diags.HasErrors() {
				b.Fatal(diags)
			}
		}
	}
}

func BenchmarkDecodeAndEncodeOneBody(b *testing.B) {
	src := manyTasks(1)
	file, _ := hclsyntax.ParseConfig(src, "test.hcl", hcl.InitialPos)
	body, diags := CompileTask(file.Body.(*hclsyntax.Body).Blocks[0].Body, Options{Sources: map[string][]byte{"test.hcl": src}})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	ctx := evalContext(map[string]cty.Value{"param": cty.ObjectVal(map[string]cty.Value{"day": cty.StringVal("2026-01-31")})})
	b.ReportAllocs()
	for b.Loop() {
		in, diags := body.DecodeTask(ctx)
		if diags.HasErrors() {
			b.Fatal(diags)
		}
		if _, err := Canonical(in.Assemble("t")); err != nil {
			b.Fatal(err)
		}
	}
}
