// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// FuzzCompile throws files at the front end. Whatever they hold, it must answer with findings or with a definition that
// holds together: its graph builds, its evaluator opens it, and compiling it again gives the same.
func FuzzCompile(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.hcl", "testdata/valid/bodies/*.hcl", "testdata/invalid/*.hcl", "../examples/*/*.hcl"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		// What it may name, whatever it is made of; the file itself is read as a job and as a template too.
		files := []workflow.File{
			{Path: "fuzz.hcl", Bytes: src},
			{Path: "files/text.txt", Bytes: []byte("text"), Named: true}, {Path: "files/good.tpl", Bytes: src, Named: true},
			{Path: "files/batch.nomad.hcl", Bytes: src, Named: true}, {Path: "child/workflow.hcl", Bytes: src, Named: true},
		}
		def, diags := Compile(files, "")
		if def == nil {
			if !diags.HasErrors() {
				t.Fatal("no definition and no error")
			}
			return
		}
		if _, err := workflow.NewGraph(def); err != nil {
			t.Fatalf("graph: %v", err)
		}
		e, err := NewEvaluator(def)
		if err != nil {
			t.Fatal(err)
		}
		shared := &workflow.Shared{Run: workflow.RunValues{ID: "r"}}
		for i := range def.Tasks {
			task := &def.Tasks[i]
			for _, x := range []*workflow.Expr{task.When, task.ForEach, task.Count, task.Body} {
				if x != nil {
					v, err := e.Evaluate(*x, workflow.Scope{Shared: shared, Attempt: &workflow.AttemptValues{Number: 1}}) // most cannot be evaluated; none may panic
					var child workflow.ChildBody
					if err == nil && x == task.Body && task.BodyKind == workflow.BodyRunWorkflow && json.Unmarshal(v.JSON, &child) == nil {
						if kid, _, err := e.Child(child); err != nil {
							t.Fatalf("child: %v", err)
						} else {
							Params(kid, GivenByParent(child.Params), workflow.RunValues{})
						}
					}
				}
			}
		}
		Params(def, nil, workflow.RunValues{})
		if again, _ := Compile(files, ""); again == nil || again.Hash != def.Hash {
			t.Fatal("compiled once only")
		}
		laid, diags := Format(files[0])
		if diags.HasErrors() {
			t.Fatalf("format: %s", diags)
		}
		if again, diags := Format(workflow.File{Path: "fuzz.hcl", Bytes: laid}); diags.HasErrors() {
			t.Fatalf("format again: %s\n%s", diags, again)
		}
	})
}
