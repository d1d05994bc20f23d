// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestValidFilesCompileToTheirGoldenDefinitions(t *testing.T) {
	for _, c := range []struct{ path, name, golden string }{
		{"testdata/valid/nightly_orders.hcl", "", "nightly_orders.json"},
		{"testdata/valid/graph.hcl", "", "graph.json"},
		{"testdata/valid/policies.hcl", "policies", "policies.json"},
		{"testdata/valid/policies.hcl", "finally_without_defaults", "finally_without_defaults.json"},
		{"testdata/valid/bodies", "", "bodies.json"},
		{"testdata/valid/folder", "one", "folder_one.json"},
		{"testdata/valid/folder", "two", "folder_two.json"},
	} {
		t.Run(c.golden, func(t *testing.T) {
			files, diags := Load(c.path)
			if len(diags) > 0 {
				t.Fatal(diags)
			}
			def, diags := Compile(files, c.name)
			var warnings []*expectation
			for _, file := range files {
				warnings = append(warnings, expectations(file.Bytes)...)
			}
			if compare(t, warnings, diags); t.Failed() {
				t.Fatal(diags)
			}
			def.Files = nil // the golden file stands beside them
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(def); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "valid", c.golden)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("definition, -want +got (go test -update writes it anew):\n%s", diff)
			}
		})
	}
}

func TestExamplesCompile(t *testing.T) {
	paths, err := filepath.Glob("../examples/*/workflow.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatal("no examples", err)
	}
	for _, path := range paths {
		files, diags := Load(path)
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		if _, diags := Compile(files, ""); len(diags) > 0 {
			t.Errorf("%s:\n%s", path, diags)
		}
	}
}

func TestCompilingIsDeterministic(t *testing.T) {
	files, diags := Load("testdata/valid/folder")
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	first, _ := Compile(files, "one")
	turned := slices.Clone(files)
	slices.Reverse(turned)
	for range 10 {
		again, _ := Compile(turned, "one")
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("another definition, -first +again:\n%s", diff)
		}
	}
	changed := slices.Clone(files)
	changed[0].Bytes = append(slices.Clone(changed[0].Bytes), '\n')
	if other, _ := Compile(changed, "one"); other.Hash == first.Hash {
		t.Error("another file, the same hash")
	}
	renamed := slices.Clone(files)
	renamed[0].Path = "renamed.hcl"
	if other, _ := Compile(renamed, "one"); other.Hash == first.Hash {
		t.Error("another path, the same hash")
	}
}

func TestChoosingAWorkflow(t *testing.T) {
	files, _ := Load("testdata/valid/folder")
	for name, want := range map[string]string{
		"":    "The files declare several workflows: one or two. Say which one is meant.",
		"ome": "The files declare no workflow ome, only one or two. Did you mean `one`?",
	} {
		if _, diags := Compile(files, name); len(diags) != 1 || diags[0].Detail != want {
			t.Errorf("%q: got %v, want %s", name, diags, want)
		}
	}
	if _, diags := Compile([]workflow.File{{Path: "a.hcl"}}, ""); len(diags) != 1 || !strings.HasPrefix(diags[0].Detail, "The files declare no workflow.") {
		t.Errorf("empty file: got %v", diags)
	}
}

func TestLoading(t *testing.T) {
	dir := t.TempDir()
	if _, diags := Load(dir); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "holds no *.hcl file") {
		t.Errorf("empty folder: %v", diags)
	}
	if _, diags := Load(filepath.Join(dir, "nope.hcl")); !diags.HasErrors() || !strings.Contains(diags[0].Detail, "no such file") {
		t.Errorf("missing file: %v", diags)
	}
	files, diags := Load("testdata/valid/folder")
	if len(diags) > 0 || len(files) != 3 || files[0].Path != "locals.hcl" {
		t.Errorf("folder: %v %v", files, diags)
	}
}

func TestReadFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, make([]byte, 1<<20), 0o644), syscall.Mkfifo(pipe, 0o644)); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(file, 1<<20); err != nil || len(b) != 1<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := os.Truncate(file, 1<<20+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: file + ": more than 1 MiB are too many", pipe: pipe + " is a named pipe and not a regular file",
		dir: dir + " is a folder and not a regular file", "/dev/zero": "/dev/zero is a device and not a regular file",
		filepath.Join(dir, "none"): "no such file",
	} {
		if b, err := ReadFile(path, 1<<20); b != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v, want to hear %q", path, len(b), err, want)
		}
	}
}

func TestOnlyRegularFilesAreLoaded(t *testing.T) {
	dir := t.TempDir()
	whole := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(whole("a.hcl"), []byte("locals {}\n"), 0o644),
		syscall.Mkfifo(whole("pipe.hcl"), 0o644),
		os.Mkdir(whole("sub.hcl"), 0o755),
		os.Symlink("pipe.hcl", whole("link.hcl")),
		os.Symlink("nowhere", whole("dangling.hcl")),
		os.Symlink("/dev/zero", whole("zero.hcl")),
	); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		whole("pipe.hcl"): {whole("pipe.hcl") + " is a named pipe"},
		"/dev/zero":       {"/dev/zero is a device"},
		dir: {
			whole("dangling.hcl") + ": no such file", whole("link.hcl") + " is a named pipe", whole("pipe.hcl") + " is a named pipe",
			whole("sub.hcl") + " is a folder", whole("zero.hcl") + " is a device",
		},
	} {
		files, diags := loadSoon(t, path)
		if len(files) > 0 || len(diags) != len(want) {
			t.Errorf("%s: %d files, findings\n%s", path, len(files), diags)
			continue
		}
		for i, d := range diags {
			if d.Severity != SeverityError || !strings.Contains(d.Detail, want[i]) {
				t.Errorf("%s: got %q, want %q", path, d.Detail, want[i])
			}
		}
	}
}

func TestOpenDescriptorsAreLoaded(t *testing.T) {
	const text = "locals {}\n"
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() {
		_, err := w.WriteString(text)
		written <- errors.Join(err, w.Close())
	}()
	files, diags := loadSoon(t, fmt.Sprintf("/dev/fd/%d", r.Fd()))
	if err := <-written; err != nil || len(diags) > 0 || len(files) != 1 || string(files[0].Bytes) != text {
		t.Errorf("a pipe: %v, %s, %v", err, diags, files)
	}

	path := filepath.Join(t.TempDir(), "pipe.hcl")
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	left, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	files, diags = loadSoon(t, fmt.Sprintf("/dev/fd/%d", left.Fd()))
	if len(diags) > 0 || len(files) != 1 || len(files[0].Bytes) > 0 {
		t.Errorf("a pipe without a writer: %s, %v", diags, files)
	}
}

// loadSoon is Load for what must not be waited for.
func loadSoon(t *testing.T, path string) ([]workflow.File, Diagnostics) {
	t.Helper()
	type loaded struct {
		files []workflow.File
		diags Diagnostics
	}
	done := make(chan loaded, 1)
	go func() {
		files, diags := Load(path)
		done <- loaded{files, diags}
	}()
	select {
	case l := <-done:
		return l.files, l.diags
	case <-time.After(10 * time.Second):
		t.Fatalf("%s is still being loaded", path)
		return nil, nil
	}
}

func TestBytesThatAreNotTextAreOneFinding(t *testing.T) {
	binary := make([]byte, 1<<16)
	for i := range binary {
		binary[i] = byte(i * 7)
	}
	for name, c := range map[string]struct {
		src          string
		line, column int
		says         string
	}{
		"a byte of Latin-1":   {"locals {\n  ä = \"caf\xe9\"\n  b = \xe9\n}\n", 2, 11, "0xe9"},
		"half a character":    {"# \xe2\x82", 1, 3, "0xe2"},
		"a zero in a comment": {"\n\n# a\x00b\n", 3, 4, "0x00"},
		"UTF-16":              {"l\x00o\x00c\x00a\x00l\x00s\x00", 1, 2, "0x00"},
		"a binary":            {string(binary), 1, 1, "0x00"},
	} {
		t.Run(name, func(t *testing.T) {
			file := workflow.File{Path: "a.hcl", Bytes: []byte(c.src)}
			_, compiled := Compile([]workflow.File{file}, "")
			out, formatted := Format(file)
			if out != nil {
				t.Errorf("it was formatted: %q", out)
			}
			for _, diags := range []Diagnostics{compiled, formatted} {
				if len(diags) != 1 || diags[0].Range.Line != c.line || diags[0].Range.Column != c.column ||
					!strings.Contains(diags[0].Detail, "not text in UTF-8") || !strings.Contains(diags[0].Detail, c.says) {
					t.Errorf("got %+v\nwant one finding at %d:%d", diags, c.line, c.column)
				}
			}
		})
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	for name, expr := range map[string]string{
		"parentheses": strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000),
		"lists":       strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"negations":   strings.Repeat("!", 100_000) + "true",
		"a sum":       strings.Repeat("1 + ", 100_000) + "1",
		"choices":     strings.Repeat("true ? 1 : ", 100_000) + "1",
		"a path":      "local.a" + strings.Repeat("[0]", 100_000),
		"attributes":  "local.a" + strings.Repeat(".b", 100_000),
		"splats":      "local.a" + strings.Repeat("[*]", 100_000),
		"templates":   strings.Repeat(`"${`, 50_000) + "1" + strings.Repeat(`}"`, 50_000),
		"directives":  `"` + strings.Repeat("%{ if true }", 50_000) + `"`,
		"lines":       strings.Repeat("(\n", 100_000) + "1" + strings.Repeat("\n)", 100_000),
		"comments":    strings.Repeat("( # ))\n", 100_000) + "1" + strings.Repeat("\n)", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte("locals {\n  a = 1\n  x = " + expr + "\n}\nworkflow \"w\" {\n  task \"t\" {}\n}\n")}}, "")
			if !diags.HasErrors() {
				t.Error("it compiled")
			}
		})
	}
	deep := strings.Repeat("a {\n", 100_000) + strings.Repeat("}\n", 100_000)
	if _, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte(deep)}}, ""); !diags.HasErrors() {
		t.Error("nested blocks compiled")
	}
	json := `workflow "w" {
  task "t" {
    when = jsondecode(join("", [for i in range(100) : join("", [for j in range(100) : "["])])) == 1
  }
}`
	if _, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte(json)}}, ""); !diags.HasErrors() {
		t.Error("deep JSON compiled")
	}
}

func TestFormatting(t *testing.T) {
	format := func(src string) (string, Diagnostics) {
		out, diags := Format(workflow.File{Path: "a.hcl", Bytes: []byte(src)})
		return string(out), diags
	}
	for src, want := range map[string]string{
		"workflow \"w\" {\ntask \"a\" {\ndriver=\"exec\"\nuser = \"x\"\n}\n}\n": "workflow \"w\" {\n  task \"a\" {\n    driver = \"exec\"\n    user   = \"x\"\n  }\n}\n",
		"":                               "",
		"\xef\xbb\xbflocals {\na=1\n}\n": "locals {\n  a = 1\n}\n",
		"locals {\r\na=1\r\n}\r\n":       "locals {\r\n  a = 1\r\n}\r\n",
	} {
		if got, diags := format(src); got != want || len(diags) > 0 {
			t.Errorf("%q: got\n%q\nwant\n%q\n%s", src, got, want, diags)
		}
	}
	for name, src := range map[string]string{
		"an open string": "locals {\na=\"x\n}\n",
		"an open block":  "locals {\na=1\n",
		"prose":          "This   is no HCL.\n",
		"too deep":       "locals {\na=" + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + "\n}\n",
	} {
		if got, diags := format(src); got != "" || !diags.HasErrors() || diags[0].Range.File != "a.hcl" {
			t.Errorf("%s: got %.100q, findings %s", name, got, diags)
		}
	}
}

func TestWarningsDoNotKeepAFileFromCompiling(t *testing.T) {
	src := `workflow "w" {
  locals {
    once = join(",", [for t in task.many : t.output.x])
  }
  task "many" {
    count  = 2000
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "x" {}
  }
  task "few" {
    count  = 2
    driver = "raw_exec"
    config {
      command = "x"
      args    = [join(",", [for t in task.many : t.output.x])] # WARNING: task.many has 2000 instances, and every instance of task few walks all of them. Put the expression into locals
    }
  }
  task "by_index" {
    count  = 2
    driver = "raw_exec"
    config {
      command = "x"
      args    = [task.many[each.index].output.x, local.once]
    }
  }
  task "alone" {
    depends_on = [task.few, task.few] # WARNING: task.few stands in this list already.
    driver     = "raw_exec"
    config {
      command = "x"
      args    = [for t in task.many : t.output.x]
    }
  }
}`
	def, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte(src)}}, "")
	if def == nil {
		t.Error("it did not compile")
	}
	compare(t, expectations([]byte(src)), diags)
}

// A file in which everything is wrong must not take longer than one in which everything is right.
func TestThousandsOfErrorsAreReportedSoon(t *testing.T) {
	var b strings.Builder
	b.WriteString("workflow \"w\" {\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "  task \"t%04d\" {\n    depends_on = [task.q%04d]\n    when       = param.p%04d == task.r%04d.status\n  }\n", i, i, i, i)
	}
	b.WriteString("}\n")
	_, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte(b.String())}}, "")
	if len(diags) != 9000 {
		t.Errorf("%d findings, wanted 9000", len(diags))
	}
}
