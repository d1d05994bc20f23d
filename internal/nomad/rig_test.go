// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

var cluster testcluster.Shared

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// patience bounds every wait of a test: far above what anything takes, for two cores that do much else.
const patience = 2 * time.Minute

// rig is an executor under test, with its Watch running.
type rig struct {
	t    *testing.T
	exec *Executor
	run  workflow.RunID
	tick int

	mu     sync.Mutex // guards events and news
	events []engine.Event
	news   chan struct{} // closed and replaced with every event
}

// newRig makes an executor of the shared Nomad, of a cluster of its own.
func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	t.Parallel()
	return makeRig(t, change...)
}

// ownRig makes an executor of a Nomad that the test may break.
func ownRig(t *testing.T, nomad testcluster.NomadConfig, change ...func(*Config)) (*rig, *testcluster.NomadCluster) {
	t.Helper()
	t.Parallel()
	n := testcluster.Nomad(t, nomad)
	change = append([]func(*Config){func(c *Config) { c.Address = n.Address() }}, change...)
	return makeRig(t, change...), n
}

func makeRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Address = ""
	cfg.Cluster = newUUID()
	cfg.Logger = testLogger(t)
	for _, c := range change {
		c(&cfg)
	}
	if cfg.Address == "" {
		cfg.Address = cluster.Nomad(t).Address()
	}
	r := &rig{t: t, run: newRun(), news: make(chan struct{})}
	r.exec = r.watched(cfg)
	return r
}

// again is the rig of a second executor of the same cluster and run: the next leader, or the same after a crash.
func (r *rig) again(t *testing.T) *rig {
	next := &rig{t: t, run: r.run, tick: r.tick, news: make(chan struct{})}
	next.exec = next.watched(r.exec.cfg)
	return next
}

func (r *rig) watched(cfg Config) *Executor {
	r.t.Helper()
	exec, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = exec.Watch(ctx, r.report) // it ends with ctx
	}()
	r.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return exec
}

func (r *rig) report(ev engine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
	close(r.news)
	r.news = make(chan struct{})
}

// await returns the first event of an attempt that fits, past or to come.
func (r *rig) await(id workflow.AttemptID, what string, fits func(engine.Event) bool) engine.Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for seen := 0; ; {
		r.mu.Lock()
		for ; seen < len(r.events); seen++ {
			if ev := r.events[seen]; ev.Attempt == id && fits(ev) {
				r.mu.Unlock()
				return ev
			}
		}
		news := r.news
		r.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("no event %q of attempt %s within %s; events: %+v", what, id, patience, r.events)
		}
	}
}

func (r *rig) kind(id workflow.AttemptID, kind engine.EventKind) engine.Event {
	r.t.Helper()
	return r.await(id, string(kind), func(ev engine.Event) bool { return ev.Kind == kind })
}

// ended waits for the end of an attempt.
func (r *rig) ended(id workflow.AttemptID) *engine.Outcome {
	r.t.Helper()
	return r.kind(id, engine.Ended).Outcome
}

// count returns how many events of a kind an attempt has had.
func (r *rig) count(id workflow.AttemptID, kind engine.EventKind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		if ev.Attempt == id && ev.Kind == kind {
			n++
		}
	}
	return n
}

// shell is the start of an attempt that runs a shell script with raw_exec.
func (r *rig) shell(script string, change ...func(*nomadapi.Task)) engine.Start {
	r.t.Helper()
	task := &nomadapi.Task{
		Name: "work", Driver: "raw_exec",
		Config:      map[string]any{"command": "/bin/sh", "args": []string{"-c", script}},
		KillTimeout: ptr(2 * time.Second),
		Resources:   &nomadapi.Resources{CPU: ptr(10), MemoryMB: ptr(16)},
	}
	for _, c := range change {
		c(task)
	}
	return r.job(&nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{{Name: ptr("work"), Tasks: []*nomadapi.Task{task}}}})
}

// job is the start of an attempt of a new instance with the given body.
func (r *rig) job(job *nomadapi.Job) engine.Start {
	r.t.Helper()
	body, err := json.Marshal(job)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tick++
	return engine.Start{
		Attempt: workflow.MakeAttemptID(r.run, 3, r.tick, 1), Run: r.run, Workflow: "nightly", Definition: "sha256:1234",
		Namespace: "default", Priority: 50, Task: "work", TaskNo: 3, Instance: r.tick, Number: 1, Epoch: 7, Fence: 11,
		IntentAt: workflow.At(time.Now()), Body: body, BodyHash: fmt.Sprintf("sha256:%x", sha256.Sum256(body)),
		OnWorkerLoss: workflow.DefaultPolicy().OnWorkerLoss, WantOutput: true,
	}
}

// begin starts an attempt that must be taken.
func (r *rig) begin(s engine.Start) workflow.AttemptID {
	r.t.Helper()
	if err := r.exec.Start(r.ctx(), s); err != nil {
		r.t.Fatalf("start: %v", err)
	}
	return s.Attempt
}

func (r *rig) kill(s engine.Start) {
	r.t.Helper()
	if err := r.exec.Kill(r.ctx(), s); err != nil {
		r.t.Fatalf("kill: %v", err)
	}
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

// jobOf returns the ID of an attempt's job.
func (r *rig) jobOf(s engine.Start) string {
	id, err := jobID(r.exec.cfg.Cluster, s.Attempt, s.Task)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *rig) api() *nomadapi.Client { return r.exec.client.api }

func newRun() workflow.RunID {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return workflow.NewRunID(time.Now(), b)
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// testLogger writes to the test's log.
func testLogger(t *testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}, DisableTime: true})
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// exited checks that an attempt ended by itself with a code.
func exited(t *testing.T, o *engine.Outcome, code int) {
	t.Helper()
	if o.Kind != engine.OutcomeExited || o.ExitCode == nil || *o.ExitCode != code {
		t.Fatalf("outcome is %s, want exit code %d", show(o), code)
	}
}

func ofKind(t *testing.T, o *engine.Outcome, kind engine.OutcomeKind) {
	t.Helper()
	if o.Kind != kind {
		t.Fatalf("outcome is %s, want %s", show(o), kind)
	}
}

func show(o *engine.Outcome) string {
	b, _ := json.Marshal(o)
	return string(b)
}

// over returns an allocation that was over at a moment, as Nomad's events told. Its reads may come later than they do:
// Nomad publishes an event before it commits what the event is about.
func (r *rig) over(id string, by time.Time) *nomadapi.Allocation {
	r.t.Helper()
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(r.ctx())
	for {
		found, meta, err := r.api().Allocations().Info(id, query)
		if err != nil {
			r.t.Fatalf("allocation %s is not over: %v", id, err)
		}
		live := false
		for name, state := range found.TaskStates {
			live = live || state.State != taskDead
			if state.FinishedAt.After(by) {
				r.t.Errorf("task %s of allocation %s ended %s after the attempt was told to be over", name, id, state.FinishedAt.Sub(by))
			}
		}
		if terminal := found.ClientStatus == clientComplete || found.ClientStatus == clientFailed; terminal && !live {
			return found
		}
		query.WaitIndex = meta.LastIndex
	}
}

// allOver checks of every allocation of an attempt's job that it was over at a moment, and returns how many there are.
func (r *rig) allOver(s engine.Start, by time.Time) int {
	r.t.Helper()
	allocs, _, err := r.api().Jobs().Allocations(r.jobOf(s), true, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range allocs {
		r.over(a.ID, by)
	}
	return len(allocs)
}

// parameterized registers a job to be dispatched, and returns its ID.
func (r *rig) parameterized(p *nomadapi.ParameterizedJobConfig, task *nomadapi.Task) string {
	r.t.Helper()
	r.tick++
	id := fmt.Sprintf("etl-%s-%d", r.run, r.tick)
	job := &nomadapi.Job{
		ID: &id, Name: &id, Type: ptr(nomadapi.JobTypeBatch), Datacenters: []string{"*"}, ParameterizedJob: p,
		TaskGroups: []*nomadapi.TaskGroup{{
			Name: ptr("work"), Tasks: []*nomadapi.Task{task},
			RestartPolicy:    &nomadapi.RestartPolicy{Attempts: ptr(0), Mode: ptr("fail")},
			ReschedulePolicy: &nomadapi.ReschedulePolicy{Attempts: ptr(0), Unlimited: ptr(false)},
		}},
	}
	if _, _, err := r.api().Jobs().Register(job, nil); err != nil {
		r.t.Fatal(err)
	}
	return id
}
