// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// rawExec is a rendered body that runs a shell script; more are fields of the Nomad task.
func rawExec(script string, more map[string]any) []byte {
	return job(merge(map[string]any{"Name": "t", "Driver": "raw_exec",
		"Config": map[string]any{"command": "/bin/sh", "args": []string{"-c", script}}}, more))
}

func merge(m, more map[string]any) map[string]any {
	for k, v := range more {
		m[k] = v
	}
	return m
}

func job(task map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"Type": "batch", "TaskGroups": []any{map[string]any{"Name": "t", "Tasks": []any{task}}}})
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

var testRun = workflow.NewRunID(time.UnixMilli(1_700_000_000_000), [6]byte{1, 2, 3})

func testStart(instance int, body []byte) engine.Start {
	return engine.Start{
		Attempt: workflow.MakeAttemptID(testRun, 0, instance, 1), Run: testRun, Workflow: "w", Task: "t", Instance: instance,
		Key: strconv.Itoa(instance), Number: 1, Fence: 7, Epoch: 1, IntentAt: workflow.At(time.Now()), Body: body, WantOutput: true,
	}
}

func instanceStart(i int, script string) engine.Start { return testStart(i, rawExec(script, nil)) }

func openExecutor(t testing.TB, dir string) *Executor {
	t.Helper()
	e, err := OpenExecutor(ExecutorConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// watch collects the events of an executor until the test ends.
func watch(t testing.TB, e *Executor) <-chan engine.Event {
	t.Helper()
	events := make(chan engine.Event, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- e.Watch(ctx, func(ev engine.Event) {
			select {
			case events <- ev:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
	})
	return events
}

// patience bounds every wait of these tests; it measures nothing.
const patience = 2 * time.Minute

func waitEnded(t testing.TB, events <-chan engine.Event, id workflow.AttemptID) engine.Outcome {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case ev := <-events:
			if ev.Kind == engine.Ended && ev.Attempt == id {
				return *ev.Outcome
			}
		case <-timeout:
			t.Fatalf("attempt %s has not ended", id)
		}
	}
}

// runOne starts one attempt in a folder of its own and waits for its end.
func runOne(t *testing.T, body []byte, change func(*engine.Start)) (engine.Outcome, string) {
	t.Helper()
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := testStart(0, body)
	if change != nil {
		change(&st)
	}
	if err := e.Start(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	return waitEnded(t, events, st.Attempt), filepath.Join(dir, attemptsDir, string(st.Attempt))
}

func start(t testing.TB, e *Executor, st engine.Start) {
	t.Helper()
	if err := e.Start(t.Context(), st); err != nil {
		t.Fatal(err)
	}
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited too long until %s", what)
		case <-tick.C:
		}
	}
}

// readLines gives the lines of a file; none when it is not there.
func readLines(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var l []string
	for line := range strings.Lines(string(b)) {
		l = append(l, strings.TrimSuffix(line, "\n"))
	}
	return l
}

// counts reads a ledger of "word instance pid" lines: how often each instance wrote the word, and the pids.
func counts(t testing.TB, ledger, word string) (n map[string]int, pids []int) {
	t.Helper()
	n = map[string]int{}
	for _, l := range readLines(t, ledger) {
		w := strings.Fields(l)
		if len(w) == 3 && w[0] == word {
			n[w[1]]++
			pid, err := strconv.Atoi(w[2])
			if err != nil {
				t.Fatalf("ledger line %q: %v", l, err)
			}
			pids = append(pids, pid)
		}
	}
	return n, pids
}

// alive says whether one of the process's threads runs, be it the first or not.
func alive(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		panic(err) // the pattern is sound
	}
	return slices.ContainsFunc(threads, func(thread string) bool {
		b, err := os.ReadFile(thread)
		return err == nil && !bytes.Contains(b, []byte(") Z ")) && !bytes.Contains(b, []byte(") X "))
	})
}

// supervisorOf is the pid of the supervisor that lives in a run folder, 0 when there is none.
func supervisorOf(t testing.TB, dir string) int {
	t.Helper()
	_, pid, err := lockedBy(filepath.Join(dir, supervisorLock))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func killHard(t testing.TB, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("no process to kill (%d)", pid)
	}
	if err := kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// program runs this test program as one of those in TestMain.
func program(t testing.TB, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

func note(word, ledger string) string {
	return fmt.Sprintf(`echo "%s $CAIRN_INSTANCE_KEY $$" >> '%s'`, word, ledger)
}

func waitForFile(path string) string {
	return fmt.Sprintf("while ! [ -e '%s' ]; do sleep 0.02; done", path)
}

func touch(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
