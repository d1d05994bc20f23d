// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// flaky is a process whose task t1 fails the first time.
func flaky(t *testing.T, w *world) *process {
	p := newProcess(t, w)
	p.exec.hold = func(s engine.Start) bool { return s.Task == "t1" && s.Number == 1 && s.Generation == 1 }
	p.exec.afterStart = func(s engine.Start) error {
		if p.exec.hold(s) {
			p.exec.finish(s.Attempt, exited(1))
		}
		return nil
	}
	return p.launch()
}

func TestARunThatIsOverIsTakenUpByAVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := flaky(t, w)
		id := p.submit(chain(3))
		p.wait(id)
		gracefully(t, p)
		next := flaky(t, w)
		synctest.Wait()
		next.verb(id, engine.Retry)
		succeeded(t, next.wait(id))
		want := []string{"chain 0/0/1", "chain 1/0/1", "chain 1/0/2", "chain 2/0/1"}
		if d := cmp.Diff(want, w.onWorker()); d != "" {
			t.Errorf("on the worker (-want +got):\n%s", d)
		}
		misfits(t, next.s.Verb(next.ctx, id, engine.Event{Kind: engine.Retry}), "is succeeded")
		if err := next.s.Verb(next.ctx, id, engine.Event{Kind: engine.Retry, Generation: 2}); err != nil {
			t.Errorf("the same retry again: %v, want it to be done", err)
		}
		gracefully(t, next)
	})
}

// A verb that only acts at the next retry is recorded, and the run stays over.
func TestAVerbIsRecordedOnARunThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := flaky(t, w)
		id := p.submit(chain(3))
		p.wait(id)
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.SkipTask, Task: 1, Instance: -1}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		synctest.Wait()
		if !w.runs[id].done || p.status(id) != workflow.RunFailed {
			t.Errorf("the run is %s, done %t, want it still over", p.status(id), w.runs[id].done)
		}
		p.verb(id, engine.Retry)
		succeeded(t, p.wait(id))
		if d := cmp.Diff([]string{"chain 0/0/1", "chain 1/0/1", "chain 2/0/1"}, w.onWorker()); d != "" {
			t.Errorf("on the worker (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

// Whatever becomes of the process, a retry whose save was answered goes on.
func TestARetryOutlivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := flaky(t, w)
		id := p.submit(chain(3))
		p.wait(id)
		p.onSave = func(workflow.RunID, []Record) (bool, error) { return true, context.DeadlineExceeded }
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Retry, Generation: 2}); err == nil {
			t.Error("the verb says it was saved, want that to be in doubt")
		}
		p.crash()
		<-p.ended
		next := flaky(t, w)
		succeeded(t, next.wait(id))
		gracefully(t, next)
	})
}

func TestRerun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := flaky(t, w)
		source, err := p.s.Submit(p.ctx, Submission{
			Definition: chain(3), Labels: map[string]string{"a": "b"}, Namespace: "ns", ScheduledAt: 777,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.s.Rerun(p.ctx, Rerun{Source: source}); err == nil {
			t.Error("a run that is not over was run again")
		}
		p.wait(source)
		again := Rerun{
			Source: source, Selection: engine.Selection{From: []string{"t1"}}, By: "me", Reason: "why not", IdempotencyKey: "k",
			Params: map[string]workflow.Value{"p": {JSON: []byte("2")}}, Given: []string{"p"},
		}
		id, err := p.s.Rerun(p.ctx, again)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := p.s.Rerun(p.ctx, again); err != nil || same != id {
			t.Errorf("the same again: %s, %v, want run %s", same, err, id)
		}
		var taken *KeyTakenError
		again.Params = nil
		if _, err := p.s.Rerun(p.ctx, again); !errors.As(err, &taken) || taken.Run != id {
			t.Errorf("other params: %v, want a refusal that names run %s", err, id)
		}
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(id, 1, 0, 1), exited(0))
		p.wait(id)
		p.see(id, func(_ *engine.Machine, s *engine.State) {
			want := engine.Input{
				Version: s.Input.Version, Run: id, Workflow: "chain", Definition: "sha256:chain", Namespace: "ns", Params: s.Input.Params,
				Given: []string{"p"}, Labels: map[string]string{"a": "b"}, Trigger: "manual", By: "me", CreatedAt: s.Input.CreatedAt,
				ScheduledAt: 777, CopiedFrom: source,
			}
			if d := cmp.Diff(want, s.Input); d != "" {
				t.Errorf("input (-want +got):\n%s", d)
			}
			if s.Tasks[0].CopiedFrom != source || s.Tasks[0].Status != workflow.Succeeded || len(s.Instances[1][0].Past) != 1 {
				t.Errorf("task t0 is %+v, want it copied; t1 has run %d times, want once", s.Tasks[0], len(s.Instances[1][0].Past))
			}
			if v := s.Head.Verbs; len(v) != 1 || v[0].Kind != "rerun" || v[0].By != "me" || v[0].Reason != "why not" {
				t.Errorf("verbs are %+v, want to see who asked for it, and why", v)
			}
		})
		if _, err := p.s.Rerun(p.ctx, Rerun{Source: p.s.NewRunID()}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a rerun of nothing: %v, want ErrNotFound", err)
		}
		gracefully(t, p)
	})
}
