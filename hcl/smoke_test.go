// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"path/filepath"
	"testing"
)

func TestExamplesCompile(t *testing.T) {
	paths, err := filepath.Glob("../examples/*/workflow.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatal("no examples", err)
	}
	for _, path := range append(paths, "testdata/valid/nightly_orders.hcl") {
		files, diags := Load(path)
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		def, diags := Compile(files, "")
		if len(diags) > 0 {
			t.Errorf("%s:\n%s", path, diags)
			continue
		}
		t.Log(path, def.Name, def.Hash, len(def.Tasks))
	}
}
