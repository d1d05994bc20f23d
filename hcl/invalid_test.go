// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

// expectation is a comment such as "# ERROR: There is no param x." on the line of the finding. Several may follow each other.
type expectation struct {
	file           string // empty: whichever
	severity, text string
	line           int
	met            bool
}

func expectations(src []byte) []*expectation {
	var out []*expectation
	for i, line := range strings.Split(string(src), "\n") {
		for _, part := range strings.Split(line, "# ")[1:] {
			for prefix, severity := range map[string]string{"ERROR: ": SeverityError, "WARNING: ": SeverityWarning} {
				if text, ok := strings.CutPrefix(part, prefix); ok {
					out = append(out, &expectation{severity: severity, text: strings.TrimSpace(text), line: i + 1})
				}
			}
		}
	}
	return out
}

// invalidFiles are the files that must not compile, each a workflow of its own.
func invalidFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/invalid/*.hcl")
	if err != nil || len(paths) < 60 {
		t.Fatalf("%d invalid files, wanted at least 60 (%v)", len(paths), err)
	}
	return paths
}

// compileInvalid compiles one of them, with what it names.
func compileInvalid(t *testing.T, path string) ([]workflow.File, Diagnostics) {
	t.Helper()
	files, diags := Load(path)
	if diags.HasErrors() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return []workflow.File{{Path: filepath.Base(path), Bytes: b}}, diags
	}
	def, diags := Compile(files, "")
	if def != nil {
		t.Error("it compiled")
	}
	return files, diags
}

func TestInvalidFilesAreRefusedWithLineAndSentence(t *testing.T) {
	for _, path := range invalidFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".hcl"), func(t *testing.T) {
			files, diags := compileInvalid(t, path)
			var want []*expectation
			for _, file := range files {
				for _, e := range expectations(file.Bytes) {
					e.file = file.Path
					want = append(want, e)
				}
			}
			compare(t, want, diags)
		})
	}
}

// Every word of every finding is held, so that a change of a sentence is seen by who reads the change.
func TestInvalidFilesHaveTheirExactFindings(t *testing.T) {
	for _, path := range invalidFiles(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".hcl")
		t.Run(name, func(t *testing.T) {
			_, diags := compileInvalid(t, path)
			var b strings.Builder
			for _, d := range diags {
				fmt.Fprintf(&b, "%s:%d:%d: %s: %s\n  %s\n", d.Range.File, d.Range.Line, d.Range.Column, d.Severity, d.Summary, strings.ReplaceAll(d.Detail, "\n", "\n  "))
			}
			golden := filepath.Join("testdata", "invalid", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("findings, -want +got (go test -update writes them anew):\n%s", diff)
			}
		})
	}
	goldens, err := filepath.Glob("testdata/invalid/*.golden")
	if err != nil || len(goldens) != len(invalidFiles(t)) {
		t.Errorf("%d golden files for %d invalid ones (%v)", len(goldens), len(invalidFiles(t)), err)
	}
}

// compare holds findings against expectations, both ways.
func compare(t *testing.T, want []*expectation, got Diagnostics) {
	t.Helper()
	for _, d := range got {
		if d.Range == (workflow.Range{}) && d.Summary == "Several workflows" {
			continue // it has no place
		}
		found := false
		for _, w := range want {
			if !w.met && w.line == d.Range.Line && (w.file == "" || w.file == d.Range.File) && w.severity == d.Severity && strings.Contains(d.Summary+": "+d.Detail, w.text) {
				w.met, found = true, true
				break
			}
		}
		if !found {
			t.Errorf("unexpected: line %d column %d: %s: %s", d.Range.Line, d.Range.Column, d.Summary, d.Detail)
		}
		if d.Range.File == "" || d.Range.Line == 0 || d.Range.Column == 0 {
			t.Errorf("no place: %+v", d)
		}
	}
	for _, w := range want {
		if !w.met {
			t.Errorf("missing: %s", fmt.Sprintf("line %d: %s: %s", w.line, w.severity, w.text))
		}
	}
}
