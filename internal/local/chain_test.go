// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

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
	var bare, each []time.Duration
	for range 200 {
		began := time.Now()
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(began))
	}
	n := 0
	for b.Loop() {
		n++
		began := time.Now()
		st := testStart(n%900, body)
		st.Attempt = workflow.MakeAttemptID(testRun, n/900, n%900, 1)
		if err := s.Save(ctx, 1, testRun, []scheduler.Record{{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, "%d", n)},
			{Key: fmt.Sprintf("c/%04d", n%40), Value: make([]byte, 400)}, {Key: fmt.Sprintf("p/%06d", n), Value: make([]byte, 300)}}, false); err != nil {
			b.Fatal(err)
		}
		if err := e.Start(ctx, st); err != nil {
			b.Fatal(err)
		}
		if o := waitEnded(b, events, st.Attempt); o.ExitCode == nil || *o.ExitCode != 0 {
			b.Fatalf("ended with %+v", o)
		}
		e.Settle(ctx, st.Attempt)
		each = append(each, time.Since(began))
	}
	// Medians: a shared machine stretches some of both.
	slices.Sort(bare)
	slices.Sort(each)
	b.ReportMetric(float64(bare[len(bare)/2].Microseconds()), "µs/bare-p50")
	b.ReportMetric(float64(each[len(each)/2].Microseconds()), "µs/task-p50")
}
