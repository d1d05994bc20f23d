// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/cli"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/server"
)

// withServer gives a console a server of its own.
func withServer(t *testing.T) *console {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.DefaultConfig()
	cfg.DataDir, cfg.HTTP.Bind = t.TempDir(), "127.0.0.1:0"
	agent, err := server.NewAgent(t.Context(), server.AgentConfig{
		Config: cfg, Dev: true, Version: "test", Logger: hclog.NewNullLogger(), Getenv: os.Getenv, Supervisor: []string{self, "supervise"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	c := newConsole(t)
	c.env["CAIRN_ADDR"] = "http://" + agent.Address()
	return c
}

// write makes a file below a folder.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	nightlyFile = `workflow "nightly" {
  description = "Loads the day"
  param "day" {
    type        = string
    description = "Business day"
  }
  param "token" {
    default   = "hunter2"
    sensitive = true
  }
  task "extract" {
    timeout = "5m"
    driver  = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [param.day, local.where]
    }
  }
  task "load" {
    depends_on = [task.extract]
  }
  locals {
    where = "eu"
  }
}
`
	weeklyFile = `workflow "weekly" {
  task "sum" {
    driver = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [file("note.txt")]
    }
  }
}
`
)

// nightlyChanged is nightlyFile with a change of every kind.
var nightlyChanged = strings.NewReplacer(
	`"Loads the day"`, `"Loads one day"`,
	"hunter2", "hunter3",
	"timeout = \"5m\"\n", "timeout = \"10m\"\n    retry {\n      max_attempts = 3\n    }\n",
	"args    = [param.day, local.where]", "args    = [\n        param.day, # of the business\n        local.where, \"-v\",\n      ]",
	"task \"load\" {\n    depends_on = [task.extract]\n", "task \"store\" {\n    depends_on = [task.extract]\n",
	`where = "eu"`, `where = { region = "eu" }`,
).Replace(nightlyFile)

func TestWorkflowsAreKeptByAServer(t *testing.T) {
	c := withServer(t)
	began := time.Now()
	c.now = func() time.Time { return began }
	root := t.TempDir()
	nightly, weekly := filepath.Join(root, "nightly", "nightly.hcl"), filepath.Join(root, "weekly", "weekly.hcl")
	write(t, nightly, nightlyFile)
	write(t, weekly, weeklyFile)
	note := filepath.Join(root, "weekly", "note.txt")
	write(t, note, "one\ntwo\nthree\n")
	var b strings.Builder
	run := func(code int, args ...string) result {
		t.Helper()
		r := c.run(args...)
		if r.code != code {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		text := "$ cairn " + strings.Join(args, " ") + "\n" + r.all(t) + "\n"
		text = strings.NewReplacer(c.env["CAIRN_ADDR"], "SERVER", root, "ROOT").Replace(text)
		b.WriteString(sorted(narrow(c.steady(text))))
		return r
	}
	run(0, "workflow", "list")
	run(0, "plan", "-param", "day=x", nightly)
	run(2, "workflow", "apply", root)
	run(0, "workflow", "apply", "-auto-approve", root)
	run(0, "workflow", "apply", root)
	run(0, "workflow", "list")
	run(0, "workflow", "show", "nightly")
	run(0, "workflow", "run", "nightly", "-param", "day=2026-01-31")
	write(t, nightly, nightlyChanged)
	write(t, note, "one\n2\nthree\n")
	run(0, "plan", "-param", "day=x", nightly)
	run(0, "workflow", "apply", "-auto-approve", root)
	write(t, nightly, strings.Replace(nightlyChanged, "# of the business", "# of business", 1))
	run(0, "workflow", "apply", "-auto-approve", "-json", filepath.Join(root, "nightly"))
	run(0, "workflow", "versions", "nightly")
	run(0, "workflow", "show", "-version", "1", "nightly")
	run(0, "workflow", "show", "-version", "1", "-source", "weekly")
	run(0, "workflow", "run", "-detach", "-version", "1", "-key", "once", "weekly")
	// What goes wrong.
	run(2, "workflow", "show", "nighly")
	run(2, "workflow", "show", "-version", "4", "nightly")
	run(2, "workflow", "versions", "hourly")
	run(2, "workflow", "run", "nightl")
	run(2, "workflow", "run", "nightly")
	run(2, "workflow", "run", "nightly", "-param", "dya=x")
	run(2, "workflow", "run", "-version", "9", "weekly")
	run(2, "workflow", "delete", "nightly")
	run(0, "workflow", "delete", "-yes", "nightly")
	run(2, "workflow", "delete", "-yes", "nightly")
	run(0, "workflow", "apply", "-auto-approve", nightly)
	golden(t, "workflow.txt", b.String())
	if text := b.String(); strings.Contains(text, "hunter") {
		t.Error("a sensitive default is shown")
	}

	if source := c.run("workflow", "show", "-source", "nightly"); source.stdout != strings.Replace(nightlyChanged, "# of the business", "# of business", 1) {
		t.Errorf("the source is another one:\n%s", source.stdout)
	}
	for _, args := range [][]string{{"workflow", "list", "-json"}, {"workflow", "versions", "-json", "nightly"}, {"workflow", "show", "-json", "-source", "nightly"}} {
		r := c.run(args...)
		var doc map[string]any
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 0 {
			t.Errorf("%v: exit %d, %v: %s", args, r.code, err, r.stdout)
		}
	}
	var plan struct {
		Registered struct {
			Workflow api.AppliedWorkflow
		}
	}
	r := c.run("plan", "-json", "-param", "day=x", nightly)
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || plan.Registered.Workflow.Action != api.ActionNone {
		t.Errorf("plan: %v: %s", err, r.stdout)
	}
}

func TestFilesWithProblemsAreNotSent(t *testing.T) {
	c := withServer(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "good", "a.hcl"), weeklyFile[:strings.Index(weeklyFile, "driver")]+"}\n}\n")
	write(t, filepath.Join(root, "bad", "a.hcl"), "workflow \"b\" {\n}\n")
	write(t, filepath.Join(root, "twice", "a.hcl"), "workflow \"b\" {\n  task \"t\" {}\n}\nworkflow \"b\" {\n  task \"t\" {}\n}\n")
	write(t, filepath.Join(root, "empty", "README.md"), "nothing\n")
	write(t, filepath.Join(root, "same", "a", "a.hcl"), "workflow \"b\" {\n  task \"t\" {}\n}\n")
	write(t, filepath.Join(root, "same", "b", "a.hcl"), "workflow \"b\" {\n  task \"t\" {}\n}\n")
	var b strings.Builder
	for _, args := range [][]string{{"bad"}, {"twice"}, {"empty"}, {"nowhere"}, {"same"}, {""}, {"", "-json"}} {
		all := append([]string{"workflow", "apply", "-auto-approve", filepath.Join(root, args[0])}, args[1:]...)
		r := c.run(all...)
		if r.code != 2 {
			t.Errorf("%q: exit %d, want 2", args, r.code)
		}
		// The width of a temporary folder's name decides where lines break.
		b.WriteString("$ " + strings.Join(args, " ") + "\n" + strings.ReplaceAll(r.all(t), root, "ROOT") + "\n")
	}
	text := b.String()
	for _, want := range []string{
		"on ROOT/bad/a.hcl line 1", "Duplicate workflow", "No workflow files", "Cannot read the workflow",
		`Workflow b is declared in folder "ROOT/same/a" and in folder "ROOT/same/b"`, `"file": "ROOT/twice/a.hcl"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if r := c.run("workflow", "list"); r.stdout != "" {
		t.Errorf("registered all the same:\n%s", r.stdout)
	}
}

func TestOfAppliesAtOnceEachIsAVersion(t *testing.T) {
	c := withServer(t)
	dir := t.TempDir()
	const writers = 4
	results := make([]result, 2*writers)
	var wg sync.WaitGroup
	file := func(n int) string { return filepath.Join(dir, string(rune('a'+n))+".hcl") }
	for n := range writers {
		write(t, file(n), strings.Replace(nightlyFile, "eu", strings.Repeat("x", n+1), 1))
	}
	for n := range results {
		path := file(n % writers) // two of each
		wg.Go(func() { results[n] = c.run("workflow", "apply", "-auto-approve", "-json", path) })
	}
	wg.Wait()
	var versions []int
	for _, r := range results {
		var doc api.Applied
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 0 {
			t.Fatalf("exit %d: %v\n%s", r.code, err, r.stderr)
		}
		if w := doc.Workflows[0]; w.Action != api.ActionNone {
			versions = append(versions, w.Version)
		}
	}
	slices.Sort(versions)
	for i, v := range versions {
		if v != i+1 {
			t.Fatalf("versions %v: want each number once", versions)
		}
	}
	if len(versions) < writers {
		t.Errorf("versions %v of %d definitions", versions, writers)
	}
}

// answering runs a command with a terminal at its standard input, on which answer is typed when the question comes.
func (c *console) answering(question string, answer func(question string) string, args ...string) result {
	c.t.Helper()
	master, slave := openPTY(c.t, 80, 24)
	defer master.Close()
	defer slave.Close()
	stdout, stderr := &writer{}, &writer{}
	stderr.heard = func(text string) {
		if strings.Contains(text, question) {
			if _, err := master.WriteString(answer(text)); err != nil {
				c.t.Error(err)
			}
		}
	}
	app := &cli.App{
		Stdin: slave, Stdout: stdout, Stderr: stderr, Getenv: func(name string) string { return c.env[name] }, Now: c.now, Signals: c.signals,
	}
	code := app.Run(args)
	return result{code, stdout.buf.String(), stderr.buf.String()}
}

func TestAnApplyAsksInATerminal(t *testing.T) {
	c := withServer(t)
	path := filepath.Join(t.TempDir(), "nightly.hcl")
	write(t, path, nightlyFile)
	const question = `Only "yes" will do: `
	typed := func(text string) func(string) string { return func(string) string { return text } }
	for text, want := range map[string]string{"no\n": "Nothing was applied.", "y\n": "Nothing was applied.", "\x04": "Nothing was applied."} {
		if r := c.answering(question, typed(text), "workflow", "apply", path); r.code != 2 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stdout, "nightly") {
			t.Errorf("%q: exit %d, stderr %q, want %q", text, r.code, r.stderr, want)
		}
	}
	if r := c.run("workflow", "list"); r.stdout != "" {
		t.Errorf("applied without a yes:\n%s", r.stdout)
	}
	if r := c.answering(question, typed("yes\n"), "workflow", "apply", path); r.code != 0 || !strings.Contains(r.stderr, "Applied: 1 new") {
		t.Errorf("yes: exit %d, stderr %q", r.code, r.stderr)
	}
	// Somebody else applies something while this one reads.
	write(t, path, strings.Replace(nightlyFile, "5m", "6m", 1))
	other := filepath.Join(t.TempDir(), "nightly.hcl")
	write(t, other, strings.Replace(nightlyFile, "5m", "7m", 1))
	r := c.answering(question, func(string) string {
		if r := c.run("workflow", "apply", "-auto-approve", other); r.code != 0 {
			t.Errorf("the other one: exit %d, stderr %q", r.code, r.stderr)
		}
		return "yes\n"
	}, "workflow", "apply", path)
	if want := "Workflow nightly was at version 1 when it was looked at and is at version 2, applied by ada"; r.code != 1 || !strings.Contains(r.stderr, want) {
		t.Errorf("after another one: exit %d, stderr %q, want %q", r.code, r.stderr, want)
	}
}

func TestADeletionAsksInATerminal(t *testing.T) {
	c := withServer(t)
	path := filepath.Join(t.TempDir(), "slow.hcl")
	write(t, path, "workflow \"slow\" {\n  task \"t\" {\n    wait { duration = \"1h\" }\n  }\n}\n")
	if r := c.run("workflow", "apply", "-auto-approve", path); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	if r := c.run("workflow", "run", "-detach", "slow"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	const question = "[y/N] "
	asked := ""
	reply := func(text string) func(string) string {
		return func(q string) string {
			asked = q
			return text
		}
	}
	if r := c.answering(question, reply("\n"), "workflow", "delete", "slow"); r.code != 2 || !strings.Contains(r.stderr, "Nothing was deleted.") {
		t.Errorf("no answer: exit %d, stderr %q", r.code, r.stderr)
	}
	if want := "Delete workflow slow, version 1, at the server at " + c.env["CAIRN_ADDR"] + "? One run of it is active and goes on. [y/N] "; asked != want {
		t.Errorf("asked (-want +got):\n%s", cmp.Diff(want, asked))
	}
	r := c.answering(question, reply("y\n"), "workflow", "delete", "slow")
	if want := "Workflow slow is deleted; its last version was 1. One run of it is active and goes on."; r.code != 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("exit %d, stderr %q, want %q", r.code, r.stderr, want)
	}
	if r := c.run("runs", "list", "-status", "running", "-json"); !strings.Contains(r.stdout, `"workflow": "slow"`) {
		t.Errorf("its run after the deletion:\n%s", r.stdout)
	}
	if r := c.run("runs", "stop", c.newestID()); r.code != 0 {
		t.Errorf("stop: exit %d\n%s", r.code, r.stderr)
	}
}

func TestAShellCompletesWorkflowCommands(t *testing.T) {
	c := newConsole(t)
	for _, row := range []struct{ line, want string }{
		{"cairn workflow ", "apply delete list run show versions"},
		{"cairn workflow apply -auto", "-auto-approve"},
		{"cairn workflow show -so", "-source"},
		{"cairn workflow show ", ""}, // there is no server
		{"cairn workflow run nightly -param ", ""},
	} {
		got := c.complete(row.line)
		slices.Sort(got)
		if strings.Join(got, " ") != row.want {
			t.Errorf("%q: got %q, want %q", row.line, got, row.want)
		}
	}
}
