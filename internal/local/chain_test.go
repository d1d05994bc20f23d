// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// rawExec is a rendered body that runs a shell script.
func rawExec(task, script string, more map[string]any) []byte {
	t := map[string]any{"Name": task, "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/sh", "args": []string{"-c", script}}}
	for k, v := range more {
		t[k] = v
	}
	b, err := json.Marshal(map[string]any{"Type": "batch", "TaskGroups": []any{map[string]any{"Name": task, "Tasks": []any{t}}}})
	if err != nil {
		panic(err)
	}
	return b
}

var testRun = workflow.NewRunID(time.UnixMilli(1_700_000_000_000), [6]byte{1, 2, 3})

func testStart(number int, body []byte) engine.Start {
	return engine.Start{
		Attempt: workflow.MakeAttemptID(testRun, 0, 0, number), Run: testRun, Workflow: "w", Task: "t", Number: number,
		Fence: int64(number), Epoch: 1, IntentAt: workflow.At(time.Now()), Body: body, WantOutput: true,
	}
}

func openExecutor(t testing.TB, dir string) *Executor {
	t.Helper()
	e, err := OpenExecutor(ExecutorConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// watch collects the events of an executor until the test ends.
func watch(t testing.TB, e *Executor) <-chan engine.Event {
	t.Helper()
	events := make(chan engine.Event, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Watch(ctx, func(ev engine.Event) {
			select {
			case events <- ev:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return events
}

func waitEnded(t testing.TB, events <-chan engine.Event, id workflow.AttemptID) engine.Event {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case ev := <-events:
			if ev.Kind == engine.Ended && ev.Attempt == id {
				return ev
			}
		case <-timeout:
			t.Fatalf("attempt %s has not ended", id)
		}
	}
}

// BenchmarkChain is one task after the other with a save between them, as in a run whose tasks depend on each other. It
// reports what that costs over forking the same program directly.
func BenchmarkChain(b *testing.B) {
	dir, err := os.MkdirTemp(".", "chain")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := openStore(b, filepath.Join(dir, StoreFile))
	ctx := b.Context()
	if _, err := s.Create(ctx, 1, scheduler.NewRun{ID: testRun, Workflow: "w", Records: []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("{}")}}}); err != nil {
		b.Fatal(err)
	}
	e := openExecutor(b, dir)
	events := watch(b, e)
	body, err := json.Marshal(map[string]any{"TaskGroups": []any{map[string]any{"Tasks": []any{
		map[string]any{"Driver": "raw_exec", "Config": map[string]any{"command": "/bin/true"}}}}}})
	if err != nil {
		b.Fatal(err)
	}
	bare := time.Duration(0)
	for range 100 {
		began := time.Now()
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(began)
	}
	n := 0
	for b.Loop() {
		n++
		st := testStart(n%999+1, body)
		st.Attempt = workflow.MakeAttemptID(testRun, n/900, n%900, 1)
		if err := s.Save(ctx, 1, testRun, []scheduler.Record{{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, "%d", n)},
			{Key: fmt.Sprintf("c/%04d", n%40), Value: make([]byte, 400)}, {Key: fmt.Sprintf("p/%06d", n), Value: make([]byte, 300)}}, false); err != nil {
			b.Fatal(err)
		}
		if err := e.Start(ctx, st); err != nil {
			b.Fatal(err)
		}
		if ev := waitEnded(b, events, st.Attempt); ev.Outcome.ExitCode == nil || *ev.Outcome.ExitCode != 0 {
			b.Fatalf("ended with %+v", ev.Outcome)
		}
		e.Settle(ctx, st.Attempt)
	}
	b.ReportMetric(float64(bare.Microseconds())/100, "µs/fork+exec+wait")
}
