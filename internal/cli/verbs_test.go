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
