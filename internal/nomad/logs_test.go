// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// log reads a whole log.
func (r *rig) log(req scheduler.LogRequest) string {
	r.t.Helper()
	log, err := r.exec.Logs(r.ctx(), req)
	if err != nil {
		r.t.Fatalf("open the log: %v", err)
	}
	b, err := io.ReadAll(log)
	if err != nil {
		r.t.Fatalf("read the log: %v", err)
	}
	if err := log.Close(); err != nil {
		r.t.Fatalf("close the log: %v", err)
	}
	return string(b)
}

func TestAgentLogsOfBothStreams(t *testing.T) {
	r := newRig(t)
	s := r.shell("echo out one; echo err one >&2; echo out two")
	r.begin(s)
	place := r.ended(s.Attempt)
	exited(t, place, 0)
	req := scheduler.LogRequest{Attempt: s.Attempt, Place: r.kind(s.Attempt, engine.Ended).Place, Task: s.Task}
	for _, follow := range []bool{false, true} {
		req.Follow, req.Stderr, req.Tail = follow, false, 0
		if got := r.log(req); got != "out one\nout two\n" {
			t.Errorf("stdout (follow %t) is %q", follow, got)
		}
		req.Tail = 4
		if got := r.log(req); got != "two\n" {
			t.Errorf("the last 4 bytes of stdout (follow %t) are %q", follow, got)
		}
		req.Stderr, req.Tail = true, 0
		if got := r.log(req); got != "err one\n" {
			t.Errorf("stderr (follow %t) is %q", follow, got)
		}
	}
	// By the attempt alone, and after it was settled.
	r.exec.Settle(r.ctx(), s.Attempt)
	req.Place, req.Stderr = engine.Place{}, false
	if got := r.log(req); got != "out one\nout two\n" {
		t.Errorf("stdout of a settled attempt is %q", got)
	}
}

func TestAgentFollowedLogGrowsAndEnds(t *testing.T) {
	r := newRig(t)
	s := r.shell("for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done")
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	got := r.log(scheduler.LogRequest{Attempt: s.Attempt, Place: place, Task: s.Task, Follow: true})
	if got != "line 1\nline 2\nline 3\nline 4\nline 5\n" {
		t.Errorf("log is %q", got)
	}
	exited(t, r.ended(s.Attempt), 0)
}

func TestAgentFollowedLogSurvivesBrokenConnections(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	// More than a frame at once, then line by line, each waiting for a file that the test writes after a cut.
	const lines = 3000
	s := r.shell(`seq 1 3000; while ! test -e "$NOMAD_ALLOC_DIR/data/go"; do sleep 0.05; done; echo end`)
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	log, err := r.exec.Logs(r.ctx(), scheduler.LogRequest{Attempt: s.Attempt, Place: place, Task: s.Task, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var want strings.Builder
	for i := range lines {
		want.WriteString(strconv.Itoa(i+1) + "\n")
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(log, got); err != nil {
		t.Fatal(err)
	}
	p.cutLogs()
	release(t, r, s)
	rest, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() || string(rest) != "end\n" {
		t.Errorf("after a broken connection the log ends in %q, want the last line once", rest)
	}
}

func TestAgentClosingAFollowedLogEndsIt(t *testing.T) {
	r := newRig(t)
	s := r.shell("echo on; sleep 300")
	r.begin(s)
	r.settleTrap(s) // reads three bytes and closes
	r.kill(s)
	r.ended(s.Attempt)
	if n := len(r.exec.client.logStreams); n != 0 {
		t.Errorf("%d log streams are still held", n)
	}
}

func TestAgentLogsThatAreNotThere(t *testing.T) {
	r := newRig(t)
	never := scheduler.LogRequest{Attempt: workflow.MakeAttemptID(r.run, 9, 9, 1), Task: "work"}
	if _, err := r.exec.Logs(r.ctx(), never); !errors.Is(err, scheduler.ErrNotFound) {
		t.Errorf("log of an attempt that never was: %v, want %v", err, scheduler.ErrNotFound)
	}
	broken := r.shell("", func(task *nomadapi.Task) { task.Config = map[string]any{"command": "/no/such"} })
	r.begin(broken)
	ofKind(t, r.ended(broken.Attempt), engine.OutcomeError)
	for _, follow := range []bool{false, true} {
		req := scheduler.LogRequest{Attempt: broken.Attempt, Task: "work", Follow: follow}
		if _, err := r.exec.Logs(r.ctx(), req); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("log of a task that never ran (follow %t): %v, want %v", follow, err, scheduler.ErrNotFound)
		}
	}
	gone := r.shell("true")
	r.begin(gone)
	r.ended(gone.Attempt)
	place := r.kind(gone.Attempt, engine.Ended).Place
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(gone), true, nil); err != nil {
		t.Fatal(err)
	}
	req := scheduler.LogRequest{Attempt: gone.Attempt, Place: place, Task: "work"}
	if _, err := r.exec.Logs(r.ctx(), req); !errors.Is(err, scheduler.ErrGone) {
		t.Errorf("log of a purged job: %v, want %v", err, scheduler.ErrGone)
	}
}

// release lets a script go on that waits for the file "go".
func release(t *testing.T, r *rig, s engine.Start) {
	t.Helper()
	touch(t, r.kind(s.Attempt, engine.Started).Place.AllocID, "work")
}

// touch makes the file "go" in the folder that the tasks of an allocation share.
func touch(t *testing.T, allocID, task string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	api := cluster.Nomad(t).Client() // the executor's own client cannot upgrade its connections
	defer api.Close()
	found, _, err := api.Allocations().Info(allocID, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.Allocations().Exec(ctx, found, task, false,
		[]string{"/bin/sh", "-c", `touch "$NOMAD_ALLOC_DIR/data/go"`}, strings.NewReader(""), io.Discard, io.Discard, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// cutLogs breaks every followed log.
func (p *proxy) cutLogs() {
	p.cut(func(req *http.Request) bool { return strings.HasPrefix(req.URL.Path, "/v1/client/fs/logs/") })
}
