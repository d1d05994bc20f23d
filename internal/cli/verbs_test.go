// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// transcript collects what a person would see.
type transcript struct {
	*console
	strings.Builder
}

// say runs a command and keeps what it printed.
func (t *transcript) say(args ...string) result {
	t.t.Helper()
	r := t.run(args...)
	t.WriteString(t.steady("$ cairn "+strings.Join(args, " ")) + "\n" + sorted(narrow(t.steady(r.all(t.t)))) + "\n")
	return r
}

// child is the ID of the newest child run.
func (c *console) child() string {
	c.t.Helper()
	var list api.Runs
	r := c.run("runs", "list", "-json", "-children")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		c.t.Fatalf("list: %v\n%s%s", err, r.stdout, r.stderr)
	}
	for _, run := range list.Runs {
		if run.Parent != "" {
			return run.ID
		}
	}
	c.t.Fatalf("no child run in %s", r.stdout)
	return ""
}

func TestARunIsRetriedAndRunAgain(t *testing.T) {
	c := newConsole(t)
	gate := filepath.Join(c.env["CAIRN_STATE_DIR"], "gate")
	s := &transcript{console: c}
	if r := s.say("run", "-local", "-workflow", "again", "testdata/again.hcl", "-param", "gate="+gate); r.code != 1 {
		t.Fatalf("exit %d\n%s", r.code, s.String())
	}
	id, child := c.newestID(), c.child()
	for _, args := range [][]string{
		{"runs", "list", "-children"}, {"runs", "list"},
		{"runs", "show", child}, {"runs", "logs", child, "one"}, {"runs", "logs", id, "nested"},
		{"runs", "retry", "-plan", id}, {"task", "retry", "-plan", id, "nested"}, {"task", "retry", "-plan", "-json", id, "second"},
		{"task", "retry", id, "first"}, {"task", "succeed", id, "first"}, {"runs", "approve", id}, {"runs", "reject", id, "third"},
		{"runs", "resume", id}, {"runs", "pause", id}, {"runs", "stop", id}, {"task", "cancel", id, "third"}, {"task", "retry", id, "fourth"},
		{"task", "skip", "-reason", "not today", id, "second"}, {"task", "skip", id, "second"},
	} {
		s.say(args...)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"runs", "retry", "-reason", "the gate is open", id}, {"runs", "retry", id}, {"runs", "show", id},
		{"runs", "rerun", "-from", "fourth", id}, {"runs", "rerun", "-param", "ok=maybe", "-param", "x=1", id},
		{"runs", "rerun", "-only", "second", "-param", "ok=true", "-reason", "once more", id},
	} {
		s.say(args...)
	}
	s.say("runs", "show", c.newestID())
	golden(t, "again.txt", s.String())
}

// asked starts a run in a process of its own and waits until its child run asks, too.
func (c *console) asked(t *testing.T) (cmd *exec.Cmd, id, child string) {
	t.Helper()
	cmd = c.cairn("run", "-local", "-workflow", "asking", "testdata/asking.hcl")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, out, "nested #1 running as run")
	id = c.newestID()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if r := c.run("runs", "list", "-children", "-workflow", "inner", "-json"); strings.Contains(r.stdout, `"running"`) {
			return cmd, id, c.child()
		}
	}
	t.Fatal("the child run never began")
	return nil, "", ""
}

func TestApprovalsAreGivenOrRefused(t *testing.T) {
	c := newConsole(t)
	cmd, id, child := c.asked(t)
	s := &transcript{console: c}
	s.say("runs", "show", id)
	s.say("runs", "approve", id)
	s.say("runs", "approve", "-input", "limit=many", "-input", "ticket=T-1", id)
	s.say("runs", "approve", "-input", "color=red", "-input", "ticket=T-1", id)
	c.env["USER"] = "eve"
	s.say("runs", "approve", "-input", "ticket=T-1", id, "release")
	c.env["USER"] = "ada"
	s.say("runs", "approve", child)
	s.say("runs", "approve", "-instance", "eu", "-json", child, "confirm")
	s.say("runs", "pause", child)
	s.say("runs", "approve", child)
	s.say("runs", "approve", "-input", "limit=2 * 4", "-input", "ticket=T-1", "-comment", "checked", id)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the run: %v", err)
	}
	s.say("runs", "reject", id, "release")
	s.say("runs", "show", id)
	golden(t, "approvals.txt", s.String())
	run := c.run("runs", "show", "-json", id)
	if !strings.Contains(run.stdout, `"line": "ada checked 8 T-1"`) {
		t.Errorf("what was given is not what came out: %s", run.stdout)
	}
}

func TestARunThatNobodyDrivesIsTakenUpByAnApproval(t *testing.T) {
	c := newConsole(t)
	cmd := c.cairn("run", "-local", "-workflow", "alone", "testdata/asking.hcl")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	waitFor(t, out, "confirm waits for approval: cairn runs approve")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process that was killed ended well")
	}
	s := &transcript{console: c}
	id := c.newestID()
	s.say("runs", "pause", id)
	s.say("runs", "approve", id)
	golden(t, "approve-undriven.txt", s.String())
}

func TestAKeyOfARerunStartsOneRun(t *testing.T) {
	c := newConsole(t)
	if r := c.run("run", "-local", "testdata/flow.hcl"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	id := c.newestID()
	if r := c.run("runs", "rerun", "-key", "k", "-only", "report", id); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	first := c.newestID()
	r := c.run("runs", "rerun", "-key", "k", "-only", "report", id)
	if r.code != 0 || c.newestID() != first || !strings.Contains(r.stderr, "Key k has a run already: "+first) {
		t.Errorf("the same again: exit %d\n%s", r.code, r.stderr)
	}
	r = c.run("runs", "rerun", "-key", "k", "-only", "load", id)
	if r.code == 0 || c.newestID() != first || !strings.Contains(r.stderr, first) {
		t.Errorf("another selection: exit %d\n%s", r.code, r.stderr)
	}
}
