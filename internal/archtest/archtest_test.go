// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package archtest

import (
	"bufio"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestTheTreeKeepsTheRules(t *testing.T) {
	found, err := checkTree(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

func TestTheFirstLevelHoldsOnlyWhatBelongsThere(t *testing.T) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Fatalf("list the repository's files: %v", err)
	}
	names := map[string]bool{}
	for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		top, _, _ := strings.Cut(file, "/")
		names[top] = true
	}
	if strangers := checkTop(slices.Sorted(maps.Keys(names))); len(strangers) > 0 {
		t.Errorf("these belong elsewhere, or into the table: %v", strangers)
	}
	if got, want := checkTop([]string{"go.mod", "utils", "docs"}), []string{"utils", "docs"}; !slices.Equal(got, want) {
		t.Errorf("strangers: got %v, want %v", got, want)
	}
}

func TestTheTablesNameEachThingOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range packages {
		if seen[r.folder] {
			t.Errorf("folder %s has two rows", r.folder)
		}
		seen[r.folder] = true
		for _, target := range r.imports {
			to, ok := rowOf(target)
			if !ok || to.folder != target {
				t.Errorf("%s may import %s, which has no row", r.folder, target)
			}
		}
	}
	for _, m := range modules {
		if seen[m.path] {
			t.Errorf("module %s is listed twice", m.path)
		}
		seen[m.path] = true
		if !slices.Contains([]string{"MPL-2.0", "MIT", "BSD-3-Clause", "Apache-2.0"}, m.licence) {
			t.Errorf("module %s has licence %q", m.path, m.licence)
		}
		for _, folder := range m.folders {
			if to, ok := rowOf(folder); !ok || to.folder != folder {
				t.Errorf("%s may be imported by %s, which has no row", m.path, folder)
			}
		}
	}
}

// TestEachRuleCanFail runs the checker over small bad trees. A fixture holds files,
// each after a line "-- path --"; a line that must be flagged ends in a comment
// "// ERROR: rule: part of the text", and no other line may be.
func TestEachRuleCanFail(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("find fixtures: got %v, %v", fixtures, err)
	}
	failed := map[string]bool{}
	for _, fixture := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(fixture), ".txt"), func(t *testing.T) {
			tree, want := readFixture(t, fixture)
			found, err := checkTree(tree)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range found {
				failed[v.rule] = true
				place := fmt.Sprintf("%s:%d: %s: ", v.file, v.line, v.rule)
				got = append(got, place+firstMatch(v.text, want, place))
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
	for _, rule := range rules {
		if !failed[rule] {
			t.Errorf("no fixture breaks rule %s", rule)
		}
	}
}

// firstMatch returns the wanted part of text at a place, or text itself.
func firstMatch(text string, want []string, place string) string {
	for _, w := range want {
		if part, ok := strings.CutPrefix(w, place); ok && strings.Contains(text, part) {
			return part
		}
	}
	return text
}

func readFixture(t *testing.T, name string) (tree fs.FS, want []string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	var current string
	var line int
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		text := lines.Text()
		if path, ok := strings.CutPrefix(text, "-- "); ok {
			current, line = strings.TrimSuffix(path, " --"), 0
			files[current] = &fstest.MapFile{}
			continue
		}
		if current == "" {
			continue // the fixture's own comment
		}
		line++
		files[current].Data = append(files[current].Data, text+"\n"...)
		if _, expected, ok := strings.Cut(text, "// ERROR: "); ok {
			want = append(want, fmt.Sprintf("%s:%d: %s", current, line, expected))
		}
	}
	slices.Sort(want)
	return files, want
}
