// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/scheduler"
)

const small = `
workflow "small" {
  param "who" {
    type    = string
    default = "world"
  }
  output "line" {
    value = task.greet.output.line
  }
  task "greet" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo \"line=hello, ${param.who}\" > $CAIRN_OUTPUT; echo said; echo begin greet >> LEDGER"]
    }
    output "line" {}
  }
  task "again" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo ${task.greet.output.line}"]
    }
  }
}
`

func TestLocalRunFromFileToFinishedDocument(t *testing.T) {
	r := newRig(t, small)
	s := r.start(Local)
	run, err := follow(within(t), s.Client(), s.Run)
	if err != nil {
		t.Fatal(err)
	}
	check := func(run *api.Run) {
		t.Helper()
		if run.Status != "succeeded" || string(run.Outputs["line"]) != `"hello, world"` || len(run.Tasks) != 2 {
			t.Errorf("got %s (%s), %d tasks, outputs %s", run.Status, run.Reason, len(run.Tasks), run.Outputs)
		}
	}
	check(run)
	logs := func(c *client.Client) {
		t.Helper()
		log, err := c.Logs(within(t), string(s.Run), api.LogQuery{Task: "again"})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(log)
		if err := errors.Join(err, log.Close()); err != nil || string(b) != "hello, world\n" {
			t.Errorf("the log says %q, %v", b, err)
		}
	}
	logs(s.Client())

	// Another process asks through the socket.
	live, err := Read(within(t), r.cfg, s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if live.PID != os.Getpid() {
		t.Errorf("driven by process %d, want %d", live.PID, os.Getpid())
	}
	info, err := os.Stat(filepath.Join(s.Folder(), "sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	live.Close()
	var locked *LockedError
	if _, err := Resume(within(t), r.cfg, s.Run, ""); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("resume of a driven run: %v, want a refusal that names process %d", err, os.Getpid())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// The process has ended: the store tells.
	stored, err := Read(within(t), r.cfg, s.Run)
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	if run, err = stored.Run(within(t), string(s.Run)); err != nil {
		t.Fatal(err)
	}
	check(run)
	logs(stored.Client)
	if _, err := stored.Verb(within(t), string(s.Run), api.VerbStop, api.VerbRequest{}); err == nil {
		t.Error("a verb on a run that is over was taken")
	}
	var over *OverError
	if _, err := Resume(within(t), r.cfg, s.Run, Local); !errors.As(err, &over) || over.Status != "succeeded" {
		t.Errorf("resume of a finished run: %v, want to hear that it is over", err)
	}
	if _, err := Resume(within(t), r.cfg, s.Run, Nomad); err == nil || !strings.Contains(err.Error(), "-local -resume") {
		t.Errorf("resume with the wrong executor: %v, want the right command", err)
	}
	if _, err := Resume(within(t), r.cfg, NewRunID(time.Now()), ""); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("resume of no run: %v, want ErrNotFound", err)
	}
	if got := r.lines()["begin greet"]; got != 1 {
		t.Errorf("greet ran %d times, want once", got)
	}
}

func TestGracefulEndAndResume(t *testing.T) {
	r := newRig(t, `
workflow "slow" {
  task "wait" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo begin wait >> LEDGER; until [ -e LEDGER.go ]; do sleep 0.02; done; echo end wait >> LEDGER"]
    }
  }
  task "after" {
    depends_on = [task.wait]
    driver     = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo begin after >> LEDGER"]
    }
  }
}
`)
	s := r.start(Local)
	until(t, func() bool { return r.lines()["begin wait"] == 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.ledger+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return r.lines()["end wait"] == 1 })
	runs, problems, err := List(within(t), r.cfg, Query{})
	if err != nil || len(problems) > 0 || len(runs) != 1 || runs[0].Status != "running" {
		t.Errorf("list: %v, %v, %v, want the run as it was left", runs, problems, err)
	}
	s, err = Resume(within(t), r.cfg, s.Run, "")
	if err != nil {
		t.Fatal(err)
	}
	run, err := follow(within(t), s.Client(), s.Run)
	if err != nil || run.Status != "succeeded" {
		t.Errorf("got %v, %v, want succeeded", run, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(r.lines()); got != "map[begin after:1 begin wait:1 end wait:1]" {
		t.Errorf("the ledger says %s", got)
	}
}

// until waits for something that a task does in its own time.
func until(t *testing.T, done func() bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not come about in time")
		}
	}
}

func TestIdempotencyKeyOfALocalRun(t *testing.T) {
	r := newRig(t, small)
	run, err := newRunOf(r.file, Local, "")
	if err != nil {
		t.Fatal(err)
	}
	run.IdempotencyKey = "nightly"
	s, err := Start(within(t), r.cfg, run)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again := run
	again.ID = NewRunID(time.Now())
	var exists *RunExistsError
	if _, err := Start(within(t), r.cfg, again); !errors.As(err, &exists) || exists.Run != run.ID {
		t.Errorf("the same again: %v, want to hear of run %s", err, run.ID)
	}
	other := again
	other.Params = nil
	var taken *scheduler.KeyTakenError
	if _, err := Start(within(t), r.cfg, other); !errors.As(err, &taken) || taken.Run != run.ID {
		t.Errorf("other params: %v, want a refusal that names run %s", err, run.ID)
	}
	if _, err := follow(within(t), s.Client(), s.Run); err != nil {
		t.Error(err)
	}
}

func TestHalfMadeFoldersAreToleratedAndRemoved(t *testing.T) {
	r := newRig(t, small)
	s := r.start(Local)
	if _, err := follow(within(t), s.Client(), s.Run); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	age := func(f folder) {
		if err := os.Chtimes(string(f), old, old); err != nil {
			t.Fatal(err)
		}
	}
	// Given up before anything was in it, before the store had the run, just now, and just after the store had it.
	bare := folderOf(r.cfg.StateDir, NewRunID(old))
	if err := os.MkdirAll(string(bare), 0o700); err != nil {
		t.Fatal(err)
	}
	half, err := makeFolder(r.cfg.StateDir, runFile{Run: NewRunID(old), Kind: Local})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := makeFolder(r.cfg.StateDir, runFile{Run: NewRunID(time.Now()), Kind: Local})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.folder.file(halfFileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []folder{bare, half, s.folder} {
		age(f)
	}
	runs, problems, err := List(within(t), r.cfg, Query{})
	if err != nil || len(problems) > 0 || len(runs) != 1 || runs[0].ID != string(s.Run) {
		t.Errorf("list: %v, %v, %v, want the one run", runs, problems, err)
	}
	for f, want := range map[folder]bool{bare: false, half: false, fresh: true, s.folder: true} {
		if _, err := os.Stat(string(f)); (err == nil) != want {
			t.Errorf("%s: there %t, want %t", filepath.Base(string(f)), err == nil, want)
		}
	}
	if s.folder.half() {
		t.Error("the folder whose run is in the store is still marked as half-made")
	}
	if _, err := Read(within(t), r.cfg, NewRunID(old)); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("read of no run: %v, want ErrNotFound", err)
	}
}

func TestSocketInADeepFolder(t *testing.T) {
	r := newRig(t, small)
	r.cfg.StateDir = filepath.Join(r.cfg.StateDir, strings.Repeat("deep/", 30))
	s := r.start(Local)
	live, err := Read(within(t), r.cfg, s.Run)
	if err != nil {
		t.Fatal(err)
	}
	run, err := follow(within(t), live.Client, s.Run)
	if err != nil || run.Status != "succeeded" {
		t.Errorf("got %v, %v, want succeeded", run, err)
	}
	live.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStateDir(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want string
	}{
		"CAIRN_STATE_DIR wins":              {map[string]string{"CAIRN_STATE_DIR": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}, "/a"},
		"then XDG_STATE_HOME":               {map[string]string{"XDG_STATE_HOME": "/b", "HOME": "/c"}, "/b/cairn"},
		"a relative XDG_STATE_HOME is none": {map[string]string{"XDG_STATE_HOME": "b", "HOME": "/c"}, "/c/.local/state/cairn"},
		"then the home folder":              {map[string]string{"HOME": "/c"}, "/c/.local/state/cairn"},
		"nowhere is an error":               {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := StateDir(func(name string) string { return tc.env[name] })
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
