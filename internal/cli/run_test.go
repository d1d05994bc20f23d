// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
)

func TestARunInAPipe(t *testing.T) {
	for name, args := range map[string][]string{
		"run.txt":        {"run", "-local", "testdata/flow.hcl"},
		"run-failed.txt": {"run", "-local", "testdata/flow.hcl", "-param", "fail=true"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			r := c.run(args...)
			r.stdout = sorted(c.steady(r.stdout))
			golden(t, name, c.steady(r.all(t)))
		})
	}
}

func TestTheRunDocumentIsPrintedOnceAtTheEnd(t *testing.T) {
	c := newConsole(t)
	r := c.run("run", "-local", "-json", "testdata/flow.hcl", "-param", "fail=true")
	if r.code != 1 || !strings.Contains(r.stderr, "load #1 failed") {
		t.Errorf("exit %d, stderr:\n%s", r.code, r.stderr)
	}
	golden(t, "run-json.txt", c.steady(r.stdout))
	shown := c.run("runs", "show", "-json", c.newestID())
	if diff := cmp.Diff(r.stdout, shown.stdout); diff != "" {
		t.Errorf("run -json and runs show -json differ (-run +show):\n%s", diff)
	}
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Error("a sensitive value is shown")
	}
}

func TestWhatIsSaidOfARunThatIsOver(t *testing.T) {
	c := newConsole(t)
	if r := c.run("run", "-local", "testdata/flow.hcl", "-param", "fail=true"); r.code != 1 {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	id := c.newestID()
	var b strings.Builder
	for _, args := range [][]string{
		{"runs", "list"},
		{"runs", "list", "-json"},
		{"runs", "list", "-status", "succeeded"},
		{"runs", "list", "-status", "failed", "-workflow", "flow", "-since", "1h"},
		{"runs", "show", id},
		{"runs", "show", id[:6]},
		{"runs", "show", "-task", "extract", id},
		{"runs", "show", "-task", "extract", "-status", "failed", id},
		{"runs", "show", "-task", "extract", "-json", id},
		{"runs", "show", "-task", "extrct", id},
		{"runs", "logs", id, "load"},
		{"runs", "logs", "-stdout", id, "load"},
		{"runs", "logs", "-stderr", "-tail", "1", id, "load"},
		{"runs", "logs", "-tail", "0", id, "load"},
		{"runs", "logs", "-tail", "0", "-follow", id, "load"},
		{"runs", "logs", "-follow", id, "load"},
		{"runs", "logs", "-attempt", "1", id, "flaky"},
		{"runs", "logs", id, "flaky"},
		{"runs", "logs", "-attempt", "3", id, "flaky"},
		{"runs", "logs", "-instance", "eu", id, "extract"},
		{"runs", "logs", id, "extract"},
		{"runs", "logs", "-instance", "mars", id, "extract"},
		{"runs", "logs", id, "joined"},
		{"runs", "logs", id, "never"},
		{"runs", "watch", id},
		{"runs", "stop", id},
		{"runs", "terminate", id},
		{"runs", "pause", id},
		{"runs", "resume", id},
		{"task", "cancel", id, "load"},
		{"run", "-local", "-resume", id},
		{"run", "-nomad", "-resume", id},
	} {
		r := c.run(args...)
		b.WriteString("$ cairn " + strings.Join(args, " ") + "\n" + c.steady(r.all(t)) + "\n")
	}
	golden(t, "over.txt", narrow(strings.ReplaceAll(c.steady(b.String()), id[:6], "ID")))
}

// stopOn sends signals when the text appears on standard output.
func (c *console) stopOn(text string, signals ...os.Signal) {
	sent := false
	c.heard = func(said string) {
		if !sent && strings.Contains(said, text) {
			sent = true
			for _, s := range signals {
				c.signals <- s
			}
		}
	}
}

func TestAnInterruptStopsTheRunAndFinallyRuns(t *testing.T) {
	for name, s := range map[string]os.Signal{"Ctrl-C": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			c.stopOn("forever #1 running", s)
			r := c.run("run", "-local", "testdata/slow.hcl")
			got := c.steady(r.stdout)
			for _, want := range []string{name + ": stopping the run", "forever #1 cancelled", "tidy #1 succeeded", "cancelled after DURATION: stopped by ada"} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in:\n%s", want, got)
				}
			}
			if r.code != 3 {
				t.Errorf("exit %d, want 3", r.code)
			}
		})
	}
}

func TestTwoInterruptsTerminate(t *testing.T) {
	c := newConsole(t)
	c.stopOn("tidy #1 running", syscall.SIGINT, syscall.SIGINT)
	r := c.run("run", "-local", "testdata/long-finally.hcl")
	if r.code != 3 || !strings.Contains(r.stdout, "tidy #1 cancelled") || !strings.Contains(r.stdout, "terminated by ada") {
		t.Errorf("exit %d; finally must have been cancelled:\n%s", r.code, r.stdout)
	}
}

func TestThreeInterruptsLeaveARunThatCanBeResumed(t *testing.T) {
	c := newConsole(t)
	c.stopOn("forever #1 running", syscall.SIGINT, syscall.SIGINT, syscall.SIGINT)
	r := c.run("run", "-local", "testdata/slow.hcl")
	id := c.newestID()
	if r.code != 6 || !strings.Contains(r.stderr, "cairn run -local -resume "+id) {
		t.Errorf("exit %d, stderr:\n%s", r.code, r.stderr)
	}
	c.signals <- syscall.SIGINT // the first two may or may not have arrived before we left
	if r := c.run("run", "-local", "-resume", id); r.code != 3 {
		t.Errorf("resumed: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

func TestANomadThatCannotBeReachedIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	c := newConsole(t)
	c.env["NOMAD_ADDR"] = address
	r := c.run("run", "-nomad", "testdata/flow.hcl")
	if r.code != 4 || !strings.Contains(r.stderr, address) || !strings.Contains(r.stderr, "NOMAD_ADDR") {
		t.Errorf("exit %d, stderr: %s", r.code, r.stderr)
	}
	if list := c.run("runs", "list"); list.stdout != "" {
		t.Errorf("a run is left behind:\n%s", list.stdout)
	}
}

// Code 1 is the verdict of a run: where none was run, there is another one.
func TestWhatCannotBeRunIsNoFailedRun(t *testing.T) {
	c := newConsole(t)
	if r := c.run("run", "-local", "testdata/flow.hcl"); r.code != 0 {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	id := c.newestID()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		env  map[string]string
		args []string
		said string
	}{
		"no such run":               {nil, []string{"run", "-local", "-resume", "xyz"}, `no run "xyz"`},
		"a run of another executor": {nil, []string{"run", "-nomad", "-resume", id}, "cairn run -local -resume " + id},
		"a malformed NOMAD_ADDR":    {map[string]string{"NOMAD_ADDR": "foo"}, []string{"run", "-nomad", "testdata/flow.hcl"}, `"foo": want http://`},
		"no such NOMAD_CACERT":      {map[string]string{"NOMAD_CACERT": "/nope"}, []string{"run", "-nomad", "testdata/flow.hcl"}, "/nope"},
		"a state folder in a file":  {map[string]string{"CAIRN_STATE_DIR": file}, []string{"run", "-local", "testdata/flow.hcl"}, file},
		"a key in such a folder":    {map[string]string{"CAIRN_STATE_DIR": file}, []string{"run", "-local", "-key", "k", "testdata/flow.hcl"}, file},
		"neither folder nor HOME":   {map[string]string{"CAIRN_STATE_DIR": ""}, []string{"run", "-local", "testdata/flow.hcl"}, "or HOME"},
		"the same for a resume":     {map[string]string{"CAIRN_STATE_DIR": ""}, []string{"run", "-resume", id}, "or HOME"},
		"an unknown log level":      {map[string]string{"CAIRN_LOG_LEVEL": "loud"}, []string{"run", "-local", "testdata/flow.hcl"}, `"loud"`},
		"nothing to watch":          {nil, []string{"runs", "watch", "xyz"}, `no run "xyz"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := newConsole(t)
			maps.Copy(d.env, c.env)
			maps.Copy(d.env, row.env)
			r := d.run(row.args...)
			if r.code != 2 || !strings.HasPrefix(r.stderr, "Error: ") || !strings.Contains(r.stderr, row.said) {
				t.Errorf("exit %d, want 2 and %q in:\n%s", r.code, row.said, r.stderr)
			}
		})
	}
}

func TestParamsFromFiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"p.hcl": "who = \"file\"\n", "p.json": `{"who": "json"}`, "empty.hcl": ""}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"-param-file", "p.hcl"}, "file"},
		{[]string{"-param-file", "p.hcl", "-param-file", "p.json"}, "json"},
		{[]string{"-param", "who=text", "-param-file", "p.hcl"}, "text"},
		{[]string{"-param", "who=a=b"}, "a=b"},
		{[]string{"-param-file", "empty.hcl"}, "world"},
	} {
		args := []string{"run", "-local", "-json", "testdata/flow.hcl"}
		for i, arg := range row.args {
			if i > 0 && row.args[i-1] == "-param-file" {
				arg = filepath.Join(dir, arg)
			}
			args = append(args, arg)
		}
		r := newConsole(t).run(args...)
		var run api.Run
		if err := json.Unmarshal([]byte(r.stdout), &run); err != nil {
			t.Fatalf("%v: %v\n%s%s", row.args, err, r.stdout, r.stderr)
		}
		if got := string(run.Params["who"]); got != `"`+row.want+`"` {
			t.Errorf("%v: who is %s, want %q", row.args, got, row.want)
		}
	}
	for name, want := range map[string]string{filepath.Join(dir, "none.hcl"): "no such file", dir: "is a folder"} {
		if r := newConsole(t).run("run", "-local", "testdata/flow.hcl", "-param-file", name); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
	}
}

func TestAKeyMakesOneRun(t *testing.T) {
	c := newConsole(t)
	first := c.run("run", "-local", "-json", "-key", "k1", "testdata/flow.hcl")
	again := c.run("run", "-local", "-json", "-key", "k1", "testdata/flow.hcl")
	if first.code != 0 || again.code != 0 || again.stdout != first.stdout {
		t.Errorf("exit %d, then %d; the second run is not the first:\n%s%s", first.code, again.code, again.stdout, again.stderr)
	}
	other := c.run("run", "-local", "-key", "k1", "testdata/flow.hcl", "-param", "who=other")
	var run api.Run
	if err := json.Unmarshal([]byte(first.stdout), &run); err != nil {
		t.Fatal(err)
	}
	if other.code != 2 || !strings.Contains(other.stderr, run.ID) {
		t.Errorf("other params: exit %d, %s", other.code, other.stderr)
	}
}

func TestWhatCannotRunHereIsRefusedBeforeAnythingStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.hcl")
	const text = `workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      comand = "/bin/true"
    }
    resources {
      cpu = 100
    }
  }
}
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	r := c.run("run", "-local", path)
	if r.code != 2 || !strings.Contains(r.stderr, "Cannot run here") || !strings.Contains(r.stderr, "resources") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	if list := c.run("runs", "list"); list.stdout != "" {
		t.Errorf("a run is left behind:\n%s", list.stdout)
	}
}

// cairn starts this test program as cairn, in a process of its own.
func (c *console) cairn(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CAIRN_TEST_IS_CAIRN=1", "CAIRN_STATE_DIR="+c.env["CAIRN_STATE_DIR"])
	return cmd
}

func TestAnotherProcessDrivesTheRun(t *testing.T) {
	c := newConsole(t)
	cmd := c.cairn("run", "-local", "testdata/slow.hcl")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, out, "forever #1 running")
	id := c.newestID()

	if r := c.run("run", "-local", "-resume", id); r.code != 2 || !strings.Contains(c.steady(r.stderr), "is driven by process PID") {
		t.Errorf("resume: exit %d, %s", r.code, r.stderr)
	}
	var b strings.Builder
	for _, args := range [][]string{
		{"runs", "show", id}, {"runs", "pause", id}, {"runs", "pause", id}, {"runs", "resume", id}, {"runs", "logs", id, "after"},
		{"task", "cancel", "-instance", "x", id, "forever"}, {"runs", "stop", "-reason", "enough", id},
	} {
		r := c.run(args...)
		b.WriteString("$ cairn " + strings.Join(args, " ") + "\n" + c.steady(r.all(t)) + "\n")
	}
	golden(t, "driven.txt", narrow(c.steady(b.String())))
	if r := c.run("runs", "watch", id); r.code != 3 {
		t.Errorf("watch: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("the process that drove the run ended with %d, want 3", code)
	}
}

func TestAKilledRunIsResumed(t *testing.T) {
	c := newConsole(t)
	cmd := c.cairn("run", "-local", "testdata/slow.hcl")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, out, "forever #1 running")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	id := c.newestID()
	if r := c.run("runs", "show", id); !strings.Contains(r.stdout, "nobody: cairn run -local -resume "+id) {
		t.Errorf("show:\n%s", r.stdout)
	}
	if r := c.run("runs", "pause", id); r.code != 1 || !strings.Contains(r.stderr, "cairn run -local -resume "+id) {
		t.Errorf("pause: exit %d, %s", r.code, r.stderr)
	}
	c.signals <- syscall.SIGINT
	r := c.run("run", "-resume", id, "-local")
	if r.code != 3 || strings.Contains(r.stdout, "forever #2") {
		t.Errorf("exit %d; the attempt must be taken up, not started again:\n%s%s", r.code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stdout, "run "+id+" running") || !strings.Contains(r.stdout, "forever #1 cancelled") {
		t.Errorf("only what is new since the resume is to be told:\n%s", r.stdout)
	}
}

func TestStopOfARunThatNobodyDrivesDrivesIt(t *testing.T) {
	c := newConsole(t)
	cmd := c.cairn("run", "-local", "testdata/slow.hcl")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, out, "forever #1 running")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	r := c.run("runs", "stop", c.newestID())
	if r.code != 0 || !strings.Contains(r.stdout, "tidy #1 succeeded") || !strings.Contains(r.stdout, "cancelled") {
		t.Errorf("exit %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}
