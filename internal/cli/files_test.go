// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		"graph-kinds.txt":           {"graph", "-workflow", "kinds", "testdata/kinds"},
		"graph-kinds-dot.txt":       {"graph", "-dot", "-workflow", "kinds", "testdata/kinds"},
		"graph-kinds-mermaid.txt":   {"graph", "-mermaid", "-workflow", "kinds", "testdata/kinds"},
		"graph-kinds-json.txt":      {"graph", "-json", "-workflow", "kinds", "testdata/kinds"},
		"plan-local.txt":            {"plan", "-local", "testdata/flow.hcl"},
		"plan-no-nomad.txt":         {"plan", "testdata/flow.hcl", "-param", "who=nobody"},
		"plan-json.txt":             {"plan", "-json", "testdata/flow.hcl"},
		"plan-bad-param-json.txt":   {"plan", "-json", "testdata/flow.hcl", "-param", "fail=perhaps"},
		"render-group.txt":          {"render", "-workflow", "kinds", "-task", "together", "testdata/kinds"},
		"render-job.txt":            {"render", "-workflow", "kinds", "-task", "existing", "testdata/kinds"},
		"render-dispatch.txt":       {"render", "-workflow", "kinds", "-task", "dispatched", "testdata/kinds"},
		"render-no-job.txt":         {"render", "-workflow", "kinds", "-task", "release", "testdata/kinds"},
		"render.txt":                {"render", "-task", "extract", "-instance", "eu", "testdata/flow.hcl"},
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
	pipe := filepath.Join(dir, "pipe.hcl")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
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
		"a device":      "/dev/zero",
		"a named pipe":  pipe,
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

// The same file twice: as a person wrote it, and in the usual layout.
const (
	uglyFile   = "workflow   \"w\" {\ntask \"a\" {\n}\n}\n"
	prettyFile = "workflow \"w\" {\n  task \"a\" {\n  }\n}\n"
)

func TestFmt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "w.hcl")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(uglyFile), 0o640); err != nil {
		t.Fatal(err)
	}
	content := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	hidden := filepath.Join(dir, ".hidden.hcl")
	if err := os.WriteFile(hidden, []byte("not {"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	if r := c.run("fmt", "-check", dir); r.code != 1 || r.stdout != path+"\n" || content() != uglyFile {
		t.Errorf("-check: exit %d, %q, %q", r.code, r.stdout, content())
	}
	if r := c.run("fmt", dir); r.code != 0 || r.stdout != path+"\n" || content() != prettyFile {
		t.Errorf("fmt: exit %d, %q, %q", r.code, r.stdout, content())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want it kept", info.Mode(), err)
	}
	if r := c.run("fmt", "-check", dir); r.code != 0 || r.stdout != "" {
		t.Errorf("again: exit %d, %q", r.code, r.stdout)
	}
	c.stdin = uglyFile
	if r := c.run("fmt", "-"); r.code != 0 || r.stdout != prettyFile {
		t.Errorf("stdin: exit %d, %q", r.code, r.stdout)
	}
	if r := c.run("fmt", "-check", "-"); r.code != 1 {
		t.Errorf("stdin -check: exit %d", r.code)
	}
	if r := c.run("fmt", filepath.Join(dir, "none.hcl")); r.code != 2 || !strings.Contains(r.stderr, "none.hcl") {
		t.Errorf("missing: exit %d, %q", r.code, r.stderr)
	}
}

func TestFmtLeavesAloneWhatIsNotHCL(t *testing.T) {
	broken := map[string]string{
		"binary.hcl":  "ab\n\xff\xfe\x00{   \x01",
		"string.hcl":  "locals {\na=\"x\nb  =  2\n}\n",
		"block.hcl":   "workflow   \"w\" {\n",
		"a-prose.hcl": "Not   HCL  at all.\n",
	}
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range broken {
		write(name, content)
	}
	good := filepath.Join(dir, "good.hcl")
	c := newConsole(t)
	for _, args := range [][]string{{"fmt", dir}, {"fmt", filepath.Join(dir, "string.hcl"), good}} {
		write("good.hcl", uglyFile)
		r := c.run(append([]string{args[0], "-check"}, args[1:]...)...)
		if got := contentOf(t, good); r.code != 2 || r.stdout != good+"\n" || got != uglyFile {
			t.Errorf("-check: exit %d, %q, %q", r.code, r.stdout, got)
		}
		r = c.run(args...)
		if got := contentOf(t, good); r.code != 2 || r.stdout != good+"\n" || got != prettyFile {
			t.Errorf("exit %d, %q, %q", r.code, r.stdout, got)
		}
		if want := "on " + filepath.Join(dir, "string.hcl") + " line 2:"; !strings.Contains(r.stderr, want) {
			t.Errorf("got %s\nwant %s", r.stderr, want)
		}
	}
	for name, content := range broken {
		path := filepath.Join(dir, name)
		r := c.run("fmt", path)
		if got := contentOf(t, path); r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "Error:") || got != content {
			t.Errorf("%s: exit %d, %q, %q, now %q", name, r.code, r.stdout, r.stderr, got)
		}
		c.stdin = content
		r = c.run("fmt", "-")
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "on <stdin> line") {
			t.Errorf("%s on standard input: exit %d, %q, %q", name, r.code, r.stdout, r.stderr)
		}
	}
	if r := c.run("fmt", filepath.Join(dir, "binary.hcl")); strings.Count(r.stderr, "Error:") != 1 || !strings.Contains(r.stderr, "line 2:") {
		t.Errorf("want one finding in line 2, got %s", r.stderr)
	}
}

func TestFmtWritesBehindLinksAndKeepsTheOwner(t *testing.T) {
	dir := t.TempDir()
	real, folder := filepath.Join(dir, "real"), filepath.Join(dir, "folder")
	target, link := filepath.Join(real, "target.hcl"), filepath.Join(dir, "link.hcl")
	if err := errors.Join(
		os.Mkdir(real, 0o755),
		os.WriteFile(target, []byte(uglyFile), 0o600),
		os.Chmod(target, 0o664), // whatever the umask
		os.Symlink("link2", link),
		os.Symlink(filepath.Join("real", "target.hcl"), filepath.Join(dir, "link2")),
		os.Symlink("real", folder),
	); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // others have only files of their own to keep
		if err := os.Chown(target, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	was := statOf(t, target)
	c := newConsole(t)
	if r := c.run("fmt", link); r.code != 0 || r.stdout != link+"\n" || contentOf(t, target) != prettyFile {
		t.Errorf("exit %d, %q, %q, target %q", r.code, r.stdout, r.stderr, contentOf(t, target))
	}
	if to, err := os.Readlink(link); err != nil || to != "link2" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	now := statOf(t, target)
	if now.Mode != was.Mode || now.Uid != was.Uid || now.Gid != was.Gid {
		t.Errorf("mode %o, owner %d:%d; want %o, %d:%d", now.Mode, now.Uid, now.Gid, was.Mode, was.Uid, was.Gid)
	}
	if now.Ino == was.Ino {
		t.Error("it was written in place, not moved there")
	}
	if r := c.run("fmt", "-check", folder); r.code != 0 || r.stderr != "" {
		t.Errorf("a link to a folder: exit %d, %q", r.code, r.stderr)
	}
	if err := os.WriteFile(target, []byte(uglyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := c.run("fmt", folder); r.code != 0 || r.stdout != filepath.Join(folder, "target.hcl")+"\n" || contentOf(t, target) != prettyFile {
		t.Errorf("a link to a folder: exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	left, err := os.ReadDir(real)
	if err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

func TestFmtRefusesWhatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	locked, good := filepath.Join(dir, "a-locked.hcl"), filepath.Join(dir, "good.hcl")
	pipe, linked := filepath.Join(dir, "pipe.hcl"), filepath.Join(dir, "linked.hcl")
	if err := errors.Join(
		os.WriteFile(locked, []byte(uglyFile), 0o444),
		os.WriteFile(good, []byte(uglyFile), 0o644),
		syscall.Mkfifo(pipe, 0o644),
		os.Symlink(dir, linked),
	); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	r := c.run("fmt", dir)
	if r.code != 2 || r.stdout != good+"\n" || contentOf(t, good) != prettyFile || contentOf(t, locked) != uglyFile {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, contentOf(t, locked))
	}
	for _, want := range []string{
		locked + " is not in the usual layout, but cannot be written: its mode 0444 lets nobody write it",
		pipe + " is not a regular file",
		linked + " is not a regular file",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("got %s\nwant %s", r.stderr, want)
		}
	}
	if r := c.run("fmt", "-check", locked); r.code != 1 || r.stderr != "" {
		t.Errorf("-check: exit %d, %q", r.code, r.stderr)
	}
	if r := c.run("fmt", pipe, "/dev/zero"); r.code != 2 || strings.Count(r.stderr, "is not a regular file") != 2 {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func statOf(t *testing.T, path string) syscall.Stat_t {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
