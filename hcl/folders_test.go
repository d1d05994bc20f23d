// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFoldersAreFoundBelowThoseWithoutWorkflows(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"etl/workflow.hcl", "etl/child/workflow.hcl", "team/a/w.hcl", "team/b/w.hcl", ".git/w.hcl", "jobs/x.nomad.hcl", "README.md"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(root, filepath.Join(root, "loop")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                "etl team/a team/b",
		"etl":             "etl",
		"team":            "team/a team/b",
		"team/a/w.hcl":    "team/a/w.hcl",
		"etl/child":       "etl/child",
		"jobs":            "No workflow files",
		"nowhere":         "Cannot read the workflow",
		"team/a/w.hcl/no": "Cannot read the workflow",
	} {
		found, diags := Folders(filepath.Join(root, path))
		var got []string
		for _, f := range found {
			short, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, short)
		}
		for _, d := range diags {
			got = append(got, d.Summary)
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%q (-want +got):\n%s", path, d)
		}
	}
}
