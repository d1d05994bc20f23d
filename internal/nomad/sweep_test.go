// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"net/http"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestAgentSweepStopsOnlyWhatIsOver(t *testing.T) {
	r := newRig(t)
	over, active, orphan := r.shell("sleep 300"), r.shell("sleep 300"), r.shell("sleep 300")
	for _, s := range []engine.Start{over, active, orphan} {
		r.begin(s)
		r.kind(s.Attempt, engine.Started)
	}
	strange := makeRig(t) // of another cluster on the same Nomad
	others := strange.shell("sleep 300")
	strange.begin(others)
	strange.kind(others.Attempt, engine.Started)
	fates := map[workflow.AttemptID]Fate{over.Attempt: FateOver, active.Attempt: FateActive}
	fate := func(id workflow.AttemptID) Fate {
		if f, ok := fates[id]; ok {
			return f
		}
		return FateUnknown
	}
	orphans, err := r.exec.Orphans(r.ctx(), fate)
	if err != nil {
		t.Fatal(err)
	}
	if len(orphans) != 1 || orphans[0].JobID != r.jobOf(orphan) || orphans[0].Attempt != orphan.Attempt {
		t.Errorf("orphans %+v, want the job of %s", orphans, orphan.Attempt)
	}
	swept, err := r.exec.Sweep(r.ctx(), fate)
	if err != nil {
		t.Fatal(err)
	}
	if swept.Stopped != 1 || len(swept.Orphans) != 1 || swept.Epoch != 7 {
		t.Errorf("sweep stopped %d, found %d orphans and the epoch %d, want one each and epoch 7", swept.Stopped, len(swept.Orphans), swept.Epoch)
	}
	ofKind(t, r.ended(over.Attempt), engine.OutcomeInterrupted)
	for _, s := range []engine.Start{active, orphan} {
		if r.count(s.Attempt, engine.Ended) != 0 {
			t.Errorf("the sweep ended attempt %s", s.Attempt)
		}
		r.kill(s)
		r.ended(s.Attempt)
	}
	strange.kill(others)
	ofKind(t, strange.ended(others.Attempt), engine.OutcomeKilled)
}

func TestAgentPurgeKeepsJobsForAWhile(t *testing.T) {
	now := time.Now()
	r := newRig(t, func(c *Config) { c.Now = func() time.Time { return now } })
	good, bad := r.shell("true"), r.shell("exit 1")
	for _, s := range []engine.Start{good, bad} {
		r.begin(s)
		r.ended(s.Attempt)
		r.exec.Settle(r.ctx(), s.Attempt)
	}
	over := func(workflow.AttemptID) Fate { return FateOver }
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {59 * time.Minute, 0}, {time.Hour, 1}, {3 * time.Hour, 0}, {4 * time.Hour, 1}, {5 * time.Hour, 0}} {
		r.exec.cfg.Now = func() time.Time { return now.Add(c.after) }
		got, err := r.exec.Purge(r.ctx(), over)
		if err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("after %s %d jobs were purged, want %d", c.after, got, c.want)
		}
	}
	for _, s := range []engine.Start{good, bad} {
		if _, _, err := r.api().Jobs().Info(r.jobOf(s), nil); answered(explain(err)) != http.StatusNotFound {
			t.Errorf("job %s after its purge: %v, want 404", r.jobOf(s), err)
		}
	}
}

func TestPurgeQueueKeepsTheNewestAndNothingYoung(t *testing.T) {
	cfg := DefaultConfig()
	cfg.KeepNewest = 10
	start := time.Now()
	var q purgeQueue
	for i := range 15 {
		cfg.Now = func() time.Time { return start.Add(time.Duration(i) * time.Minute) }
		a := &attempt{accepted: 1, outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: ptr(0)}}
		q.add(a, cfg)
	}
	if got := q.due(start.Add(12*time.Minute), cfg.KeepNewest); len(got) != 3 {
		t.Errorf("%d are due after 12 minutes, want the 3 older than 10 of those beyond the newest", len(got))
	}
	if got := q.due(start.Add(20*time.Minute), cfg.KeepNewest); len(got) != 2 {
		t.Errorf("%d are due after 20 minutes, want the 2 still beyond the newest", len(got))
	}
	running := &attempt{
		accepted: 1, outcome: &engine.Outcome{Kind: engine.OutcomeLost},
		allocs: map[string]*alloc{"a": {ID: "a", ClientStatus: clientLost}},
	}
	n := len(q.entries)
	if q.add(running, cfg); len(q.entries) != n {
		t.Errorf("a job whose allocation may still run is to be purged")
	}
}
