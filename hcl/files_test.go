// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// tree writes files below a folder, with the folders they need.
func tree(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// workflowReading is a workflow with one local of the given value.
func workflowReading(value string) string {
	return "workflow \"w\" {\n  locals {\n    x = " + value + "\n  }\n  task \"a\" {}\n}\n"
}

func TestLoadCarriesWhatIsNamed(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, map[string]string{
		"a.hcl":            workflowReading(`[file("x.txt"), fileexists("maybe.txt"), fileexists("none.txt"), templatefile("t/one.tpl", {})]`),
		"b.hcl":            "workflow \"b\" {\n  task \"c\" {\n    run_workflow {\n      source = \"kid\"\n    }\n  }\n  task \"j\" {\n    job {\n      source = \"jobs/a.nomad.hcl\"\n    }\n  }\n}\n",
		"old.nomad.hcl":    `job "old" {}`,
		"x.txt":            "x",
		"maybe.txt":        "",
		"unnamed.txt":      "nobody names it",
		"t/one.tpl":        `${file("two.txt")} ${file("../x.txt")}`,
		"t/two.txt":        "two",
		"kid/main.hcl":     "workflow \"kid\" {\n  task \"a\" {\n    driver = \"x\"\n    config {\n      a = file(\"own.txt\")\n    }\n  }\n}\n",
		"kid/other.hcl":    "locals {}\n",
		"kid/own.txt":      "own",
		"kid/.hidden.hcl":  "x",
		"kid/a.nomad.hcl":  "x",
		"jobs/a.nomad.hcl": "job \"a\" {\n  type = \"batch\"\n  meta = { x = file(\"b.json\") }\n}\n",
		"jobs/b.json":      "{}",
	})
	files, diags := Load(dir)
	const want = "a.hcl b.hcl (jobs/a.nomad.hcl) (jobs/b.json) (kid/main.hcl) (kid/other.hcl) (kid/own.txt) (maybe.txt) (t/one.tpl) (t/two.txt) (x.txt)"
	if got := paths(files); got != want || len(diags) > 0 {
		t.Errorf("got  %s\nwant %s\n%s", got, want, diags)
	}
	tree(t, dir, map[string]string{"z/z.hcl": workflowReading(`file("a.txt")`), "z/a.txt": ""})
	if last, diags := Load(filepath.Join(dir, "z")); paths(last) != "z.hcl (a.txt)" || len(diags) > 0 {
		t.Errorf("its own files do not come first: %s, %s", paths(last), diags)
	}
	one, diags := Load(filepath.Join(dir, "a.hcl"))
	if got, want := paths(one), "a.hcl (maybe.txt) (t/one.tpl) (t/two.txt) (x.txt)"; got != want || len(diags) > 0 {
		t.Errorf("one file: got  %s\nwant %s\n%s", got, want, diags)
	}
}

// A folder that names itself, and files that name each other, come to an end.
func TestLoadMeetsEachFileOnce(t *testing.T) {
	dir := t.TempDir()
	call := func(name, source string) string {
		return fmt.Sprintf("workflow %q {\n  task \"c\" {\n    run_workflow {\n      source = %q\n    }\n  }\n}\n", name, source)
	}
	tree(t, dir, map[string]string{"a.hcl": call("a", "sub"), "sub/b.hcl": call("b", ".."), "sub/c/d.hcl": call("d", ".")})
	files, diags := Load(dir)
	if got, want := paths(files), "a.hcl (sub/b.hcl)"; got != want || len(diags) > 0 {
		t.Errorf("got %s, want %s; %s", got, want, diags)
	}
	if _, diags := Compile(files, ""); len(diags) > 0 {
		t.Errorf("two that call each other: %s", diags)
	}
}

func TestNamedFilesStayBelowTheFolder(t *testing.T) {
	outside := t.TempDir()
	tree(t, outside, map[string]string{"secret.txt": "secret", "folder/x.hcl": "locals {}\n"})
	dir := t.TempDir()
	tree(t, dir, map[string]string{"inside.txt": "inside"})
	for name, target := range map[string]string{"link.txt": filepath.Join(outside, "secret.txt"), "in.txt": "inside.txt", "folder": filepath.Join(outside, "folder")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, load, compile string }{
		{`file("in.txt")`, "", ""},
		{`file("link.txt")`, "link.txt: it is a link that leads out of the workflow's folder.", ""},
		{`file("folder/x.hcl")`, "folder/x.hcl: it is a link that leads out of the workflow's folder.", ""},
		{`file("pipe")`, "pipe: it is a named pipe and not a regular file.", ""},
		{`file("sub")`, "sub: it is a folder and not a regular file.", ""},
		{`file("../` + filepath.Base(outside) + `/secret.txt")`, "", "leads out of the workflow's folder"},
		{`file("` + filepath.Join(outside, "secret.txt") + `")`, "", "the path is absolute"},
		{`file("sub/../../x")`, "", "leads out of the workflow's folder"},
		{`file("none.txt")`, "", "there is no file none.txt in the workflow's folder"},
	} {
		tree(t, dir, map[string]string{"a.hcl": workflowReading(c.value)})
		files, diags := loadSoon(t, filepath.Join(dir, "a.hcl"))
		if c.load != "" {
			if len(diags) != 1 || !strings.Contains(diags[0].Detail, c.load) || diags[0].Range.Line != 3 {
				t.Errorf("%s: loading gave %s, want %q", c.value, diags, c.load)
			}
			continue
		}
		if len(diags) > 0 {
			t.Errorf("%s: loading gave %s", c.value, diags)
		}
		_, diags = Compile(files, "")
		if c.compile == "" && len(diags) > 0 || c.compile != "" && (len(diags) != 1 || !strings.Contains(diags[0].Detail, c.compile)) {
			t.Errorf("%s: compiling gave %s, want %q", c.value, diags, c.compile)
		}
	}
}

func TestHowManyFilesMayBeNamed(t *testing.T) {
	dir := t.TempDir()
	files, calls := map[string]string{}, make([]string, 0, workflow.MaxNamedFiles+1)
	for i := range workflow.MaxNamedFiles + 1 {
		files[fmt.Sprintf("f%d", i)] = ""
		calls = append(calls, fmt.Sprintf("file(\"f%d\")", i))
	}
	files["a.hcl"] = workflowReading("[" + strings.Join(calls, ", ") + "]")
	tree(t, dir, files)
	_, diags := Load(filepath.Join(dir, "a.hcl"))
	if len(diags) != 1 || !strings.Contains(diags[0].Detail, "may name 1000 files") {
		t.Errorf("got %s", diags)
	}
	files["a.hcl"] = workflowReading("[" + strings.Join(calls[1:], ", ") + "]")
	tree(t, dir, files)
	if got, diags := Load(filepath.Join(dir, "a.hcl")); len(diags) > 0 || len(got) != workflow.MaxNamedFiles+1 {
		t.Errorf("%d files, %s", len(got), diags)
	}
}

// Compile believes nobody: what it is given may come from anywhere.
func TestCompileTakesOnlyFilesOfItsFolder(t *testing.T) {
	wf := []byte("workflow \"w\" {\n  task \"a\" {}\n}\n")
	for _, path := range []string{"../a.hcl", "/a.hcl", "a/../b.hcl", "", "a//b.hcl"} {
		if _, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: wf}, {Path: path, Bytes: wf, Named: true}}, ""); len(diags) != 1 || diags[0].Summary != "Invalid path" {
			t.Errorf("%q: got %s", path, diags)
		}
	}
	if _, diags := Compile([]workflow.File{{Path: "a.hcl", Bytes: wf}, {Path: "sub/b.hcl", Bytes: []byte("locals {}\n")}}, ""); len(diags) != 1 || !strings.Contains(diags[0].Detail, "stand in one folder") {
		t.Errorf("own files in two folders: got %s", diags)
	}
}

func TestFileFunctions(t *testing.T) {
	files := []workflow.File{
		{Path: "a.txt", Bytes: []byte("abc"), Named: true}, {Path: "bin", Bytes: []byte{0xff, 0}, Named: true},
		{Path: "t.tpl", Bytes: []byte("%{ for x in list ~}\n${upper(x)} ${n + 1}\n%{ endfor ~}\n$${literal}"), Named: true},
		{Path: "plain.tpl", Bytes: []byte("${value}"), Named: true},
	}
	for expr, want := range map[string]string{
		`file("a.txt")`:                                         `"abc"`,
		`file("./a.txt")`:                                       `"abc"`,
		`file("x/../a.txt")`:                                    `"abc"`,
		`filebase64("bin")`:                                     `"/wA="`,
		`fileexists("a.txt")`:                                   `true`,
		`fileexists("b.txt")`:                                   `false`,
		`filemd5("a.txt")`:                                      `"900150983cd24fb0d6963f7d28e17f72"`,
		`filesha1("a.txt")`:                                     `"a9993e364706816aba3e25717850c26c9cd0d89d"`,
		`filesha256("a.txt")`:                                   `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`,
		`filebase64sha256("a.txt")`:                             `"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="`,
		`filesha512("a.txt") == sha512("abc")`:                  `true`,
		`filebase64sha512("a.txt") == base64sha512("abc")`:      `true`,
		`templatefile("t.tpl", { list = ["a", "b"], n = 1 })`:   `"A 2\nB 2\n${literal}"`,
		`templatefile("plain.tpl", { value = 1.5 })`:            `"1.5"`,
		`try(file("b.txt"), "fallback")`:                        `"fallback"`,
		`strlen(templatefile("plain.tpl", { value = "${1}" }))`: `1`,
	} {
		def, e, diags := CompileAndOpen(append([]workflow.File{{Path: "test.hcl", Bytes: []byte("workflow \"w\" {\n  task \"a\" {}\n  output \"o\" {\n    value = " + expr + "\n  }\n}\n")}}, files...), "")
		if diags.HasErrors() {
			t.Errorf("%s: %s", expr, diags)
			continue
		}
		if v, err := e.Evaluate(def.Outputs[0].Value, workflow.Scope{}); err != nil || string(v.JSON) != want {
			t.Errorf("%s: got %s, %v, want %s", expr, v.JSON, err, want)
		}
	}
}

// What a file holds is its author's, so Nomad resolves what it refers to; what a template is given stays what it was: data, or
// a reference of the author's.
func TestTemplateFilesInBodies(t *testing.T) {
	files := []workflow.File{
		{Path: "test.hcl", Bytes: []byte(`
workflow "w" {
  param "p" {
    type = string
  }
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
      args    = [file("f"), templatefile("t", { node = "${node.unique.name}", data = param.p })]
    }
  }
}`)},
		{Path: "f", Bytes: []byte("${NOMAD_ALLOC_ID} %{ if"), Named: true},
		{Path: "t", Bytes: []byte("on ${node}: ${data} $${meta.x}"), Named: true},
	}
	def, e, diags := CompileAndOpen(files, "")
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	v, err := e.Evaluate(*def.Tasks[0].Body, workflow.Scope{Shared: &workflow.Shared{Params: values(t, map[string]any{"p": "${evil}"})}})
	if err != nil {
		t.Fatal(err)
	}
	want := `["${NOMAD_ALLOC_ID} %{ if","on ${node.unique.name}: $${evil} ${meta.x}"]`
	if got := args(t, v); got != want {
		t.Errorf("args:\ngot  %s\nwant %s", got, want)
	}
}

func TestTemplateErrorsHideWhatIsSensitive(t *testing.T) {
	for name, template := range map[string]string{
		"the text of a value": "${jsondecode(value)}", "a value that it marks": "${jsondecode(sensitive(plain))}", "a key": "${{}[value]}",
	} {
		files := []workflow.File{
			{Path: "test.hcl", Bytes: []byte(`
workflow "w" {
  param "secret" {
    type      = string
    sensitive = true
  }
  param "plain" {
    type = string
  }
  task "a" {}
  output "o" {
    sensitive = true
    value     = templatefile("t", { value = param.secret, plain = param.plain })
  }
}`)},
			{Path: "t", Bytes: []byte(template), Named: true},
		}
		def, e, diags := CompileAndOpen(files, "")
		if len(diags) > 0 {
			t.Fatalf("%s: %s", name, diags)
		}
		_, err := e.Evaluate(def.Outputs[0].Value, workflow.Scope{Shared: &workflow.Shared{Params: values(t, map[string]any{"secret": "hunter2", "plain": "hunter3"})}})
		if err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
