// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/api"
)

func TestWhatFilesSay(t *testing.T) {
	for name, args := range map[string][]string{
		"validate.txt":              {"validate", "testdata/flow.hcl"},
		"validate-two.txt":          {"validate", "testdata/two.hcl"},
		"validate-json.txt":         {"validate", "-json", "testdata/flow.hcl"},
		"validate-broken.txt":       {"validate", "testdata/invalid/broken.hcl"},
		"validate-broken-json.txt":  {"validate", "-json", "testdata/invalid/broken.hcl"},
		"validate-folder.txt":       {"validate", "testdata/invalid"},
		"run-broken.txt":            {"run", "-local", "testdata/invalid/broken.hcl"},
		"run-broken-json.txt":       {"run", "-local", "-json", "testdata/invalid/broken.hcl"},
		"run-bad-param.txt":         {"run", "-local", "testdata/flow.hcl", "-param", "fail=perhaps", "-param", "whom=x"},
		"run-bad-param-json.txt":    {"run", "-local", "-json", "testdata/flow.hcl", "-param", "fail=perhaps"},
		"run-bad-param-file.txt":    {"run", "-local", "testdata/flow.hcl", "-param-file", "testdata/params-bad.hcl"},
		"graph.txt":                 {"graph", "testdata/flow.hcl"},
		"graph-dot.txt":             {"graph", "-dot", "testdata/flow.hcl"},
		"graph-mermaid.txt":         {"graph", "-mermaid", "testdata/flow.hcl"},
		"graph-json.txt":            {"graph", "-json", "testdata/flow.hcl"},
		"render.txt":                {"render", "-task", "extract", "-key", "eu", "testdata/flow.hcl"},
		"render-unknown-output.txt": {"render", "-workflow", "flow", "-task", "report", "testdata/flow.hcl"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			golden(t, name, c.steady(c.run(args...).all(t)))
		})
	}
}

func TestRenderedJobsAreOnesForNomad(t *testing.T) {
	r := newConsole(t).run("render", "testdata/flow.hcl", "-param", "who=${NOMAD_JOB_ID}")
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	var ids []string
	for dec.More() {
		var doc struct {
			Job struct {
				ID, Name, Type string
				TaskGroups     []struct{ Tasks []struct{ Name string } }
			}
		}
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if doc.Job.Type != "batch" || len(doc.Job.TaskGroups) != 1 || len(doc.Job.TaskGroups[0].Tasks) != 1 {
			t.Errorf("job %+v", doc.Job)
		}
		ids = append(ids, doc.Job.Name)
	}
	want := "flow/extract[eu] #1, flow/extract[us] #1, flow/flaky #1, flow/load #1, flow/rollback #1, flow/never #1, flow/report #1"
	if got := strings.Join(ids, ", "); got != want || r.code != 0 {
		t.Errorf("exit %d, jobs %s\nwant %s", r.code, got, want)
	}
}

func TestStrangeFilesAreFindings(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	huge := write("huge.hcl", nil)
	if err := os.Truncate(huge, 65<<20); err != nil {
		t.Fatal(err)
	}
	emptyFolder := filepath.Join(dir, "folder")
	if err := os.Mkdir(emptyFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"empty":         write("empty.hcl", nil),
		"only comments": write("comments.hcl", []byte("# nothing\n")),
		"binary":        write("binary.hcl", []byte{0, 1, 2, 0xff, 0xfe, '\n', '{'}),
		"one long line": write("long.hcl", []byte(strings.Repeat("x", 1<<20))),
		"huge":          huge,
		"empty folder":  emptyFolder,
		"missing":       filepath.Join(dir, "missing.hcl"),
		"a device":      "/dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			for _, args := range [][]string{{"validate", path}, {"run", "-local", path}, {"graph", path}, {"render", path}} {
				r := c.run(args...)
				if r.code != 2 || !strings.Contains(r.stderr, "Error:") || len(r.stderr) > 4000 {
					t.Errorf("%s: exit %d, %d bytes of stderr: %.500s", args[0], r.code, len(r.stderr), r.stderr)
				}
			}
			r := c.run("validate", "-json", path)
			var doc api.Diagnostics
			if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || len(doc.Diagnostics) == 0 || r.stderr != "" {
				t.Errorf("json: %v, stdout %.500s, stderr %.500s", err, r.stdout, r.stderr)
			}
		})
	}
}

func TestFmt(t *testing.T) {
	const ugly, pretty = "workflow   \"w\" {\ntask \"a\" {\n}\n}\n", "workflow \"w\" {\n  task \"a\" {\n  }\n}\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "w.hcl")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(ugly), 0o640); err != nil {
		t.Fatal(err)
	}
	content := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c := newConsole(t)
	if r := c.run("fmt", "-check", dir); r.code != 1 || r.stdout != path+"\n" || content() != ugly {
		t.Errorf("-check: exit %d, %q, %q", r.code, r.stdout, content())
	}
	if r := c.run("fmt", dir); r.code != 0 || r.stdout != path+"\n" || content() != pretty {
		t.Errorf("fmt: exit %d, %q, %q", r.code, r.stdout, content())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want it kept", info.Mode(), err)
	}
	if r := c.run("fmt", "-check", dir); r.code != 0 || r.stdout != "" {
		t.Errorf("again: exit %d, %q", r.code, r.stdout)
	}
	c.stdin = ugly
	if r := c.run("fmt", "-"); r.code != 0 || r.stdout != pretty {
		t.Errorf("stdin: exit %d, %q", r.code, r.stdout)
	}
	if r := c.run("fmt", "-check", "-"); r.code != 1 {
		t.Errorf("stdin -check: exit %d", r.code)
	}
	if r := c.run("fmt", filepath.Join(dir, "none.hcl")); r.code != 2 || !strings.Contains(r.stderr, "none.hcl") {
		t.Errorf("missing: exit %d, %q", r.code, r.stderr)
	}
}
