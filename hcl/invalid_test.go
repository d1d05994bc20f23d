// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// expectation is a comment such as "# ERROR: There is no param x." on the line of the finding. Several may follow each other.
type expectation struct {
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

func TestInvalidFilesAreRefusedWithLineAndSentence(t *testing.T) {
	paths, err := filepath.Glob("testdata/invalid/*.hcl")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d invalid files, wanted at least 25 (%v)", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".hcl"), func(t *testing.T) {
			files, diags := Load(path)
			if len(diags) > 0 {
				t.Fatal(diags)
			}
			def, diags := Compile(files, "")
			if def != nil {
				t.Error("it compiled")
			}
			compare(t, expectations(files[0].Bytes), diags)
		})
	}
}

// compare holds findings against expectations, both ways.
func compare(t *testing.T, want []*expectation, got Diagnostics) {
	t.Helper()
	for _, d := range got {
		if d.Range == (workflow.Range{}) && d.Summary == "Several workflows" {
			continue
		}
		found := false
		for _, w := range want {
			if !w.met && w.line == d.Range.Line && w.severity == d.Severity && strings.Contains(d.Summary+": "+d.Detail, w.text) {
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
