// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is the text of the README between a heading and the next of its kind.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readme(t), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("no section %s", heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

func TestReferenceListsTheFunctions(t *testing.T) {
	var want []string
	for name := range functions() {
		if refusedFunctions[name] == "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	var got []string
	for _, row := range strings.Split(section(t, "Functions"), "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 3 {
			continue
		}
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1) {
			if strings.HasPrefix(code[1], "second ") {
				continue // the units of timetrunc
			}
			name, _, call := strings.Cut(code[1], "(")
			if call {
				got = append(got, name)
			} else {
				got = append(got, strings.Fields(code[1])...)
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("functions in README.md, -wanted +got:\n%s", diff)
	}
}

func TestReferenceListsTheAttributes(t *testing.T) {
	text := readme(t)
	for _, w := range []*words{workflowWords, taskWords, defaultsWords, retryWords, workerLossWords, paramWords, validationWords, outputWords, runOutputWords} {
		for _, name := range slices.Concat(w.attrs, w.blocks) {
			if !strings.Contains(text, "`"+name) {
				t.Errorf("%s (%s) is not in README.md", name, w.where)
			}
		}
	}
}

func TestExampleOfTheReferenceCompiles(t *testing.T) {
	_, rest, _ := strings.Cut(readme(t), "```hcl\n")
	src, _, _ := strings.Cut(rest, "```")
	if _, diags := Compile([]workflow.File{{Path: "README.hcl", Bytes: []byte(src)}}, ""); len(diags) > 0 {
		t.Error(diags)
	}
}
