// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A caller learns from a rewritten body what to give values for and what to carry, wherever it stands.
func TestRewrittenExpressionsAreStillWalked(t *testing.T) {
	b, opts := parseBody(t, `
		user = param.a == param.b ? "x" : "y"
		config {
			a = param.c + length(param.d) > 3
			b = file("one") == param.e
			c = "${param.f == "x" ? param.g : "z"}"
		}
		template {
			data = file("two")
		}
		template {
			data = "{{ key \"${param.h}\" }}"
		}
	`)
	body, diags := CompileTask(b, opts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var names []string
	for _, v := range body.Variables() {
		names = append(names, traversalText(v))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"param.a", "param.b", "param.c", "param.d", "param.e", "param.f", "param.g", "param.h"}, names); diff != "" {
		t.Error(diff)
	}
	files, diags := NamedFiles(".", body.body)
	if diags.HasErrors() || len(files) != 2 {
		t.Errorf("%v %v", files, diags)
	}
}
