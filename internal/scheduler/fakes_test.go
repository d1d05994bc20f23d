// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// world is what outlives a process: the store's content, the attempts on their worker, and the epochs.
type world struct {
	mu       sync.Mutex
	epoch    uint64 // newest that was given out
	written  uint64 // newest that has written
	runs     map[workflow.RunID]*storedRun
	saves    []string // what each save wrote, in order: its keys
	log      []string // what happened, in order
	attempts map[workflow.AttemptID]*attempt
	begun    []workflow.AttemptID // the ledger: every attempt that ever ran, in order
	running  int
	peak     int      // most attempts that ran at once
	called   []string // every call that was made, by its key
	archive  map[workflow.RunID]engine.Head
}

type storedRun struct {
	created NewRun
	records map[string][]byte
	done    bool
}

type attempt struct {
	start   engine.Start
	ran     bool
	barred  bool
	outcome *engine.Outcome
	settled bool
}

func newWorld() *world {
	return &world{
		runs: map[workflow.RunID]*storedRun{}, attempts: map[workflow.AttemptID]*attempt{}, archive: map[workflow.RunID]engine.Head{},
	}
}

// process is one process with its ends of the ports. Once it is dead none of them does anything any more.
type process struct {
	t     testing.TB
	world *world
	cfg   Config
	s     *Scheduler
	dead  atomic.Bool
	exec  *fakeExecutor

	ctx    context.Context
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once // guards the first value of ended
	left   error     // what that was

	// onSave is asked before a save is written; write says whether it is, and err what Save returns. onCreate is the same
	// for a create.
	onSave   func(id workflow.RunID, records []Record) (write bool, err error)
	onCreate func(NewRun) (write bool, err error)
	onCall   func(context.Context, workflow.HTTPBody, string) engine.Outcome
	// onLoadAll says whether a run is among those that are loaded together; an error refuses all of them.
	onLoadAll func(workflow.RunID) (give bool, err error)
	restored  bool // the store was, before the leadership
	// onRenew answers renewals.
	onRenew func(Leadership) (Leadership, error)
	trust   time.Duration // of each leadership and renewal; 0 = for ever
}

var errDead = errors.New("the process is dead")

// newProcess prepares a process; launch starts it.
func newProcess(t testing.TB, w *world) *process {
	p := &process{t: t, world: w, ended: make(chan error, 1)}
	p.exec = &fakeExecutor{p: p, wake: make(chan struct{}, 1)}
	p.cfg = DefaultConfig()
	p.cfg.Store, p.cfg.Executor, p.cfg.Elector = (*fakeStore)(p), p.exec, (*fakeElector)(p)
	p.cfg.Evaluators = func(*workflow.Definition) (engine.Evaluator, error) { return literals{}, nil }
	p.cfg.Random = func() float64 { return 0 }
	p.cfg.Children, p.cfg.Caller = compileChild, (*fakeCaller)(p)
	p.cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}, DisableTime: true})
	p.ctx, p.cancel = context.WithCancel(t.Context())
	return p
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(b, "\n")))
	return len(b), nil
}

func (p *process) launch() *process {
	p.t.Helper()
	s, err := New(p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.s = s
	go func() { p.ended <- s.Run(p.ctx) }()
	return p
}

// crash kills the process as kill -9 does: whatever it goes on doing reaches nobody.
func (p *process) crash() {
	p.dead.Store(true)
	p.cancel()
}

// end stops the process gracefully and returns what Run returned.
func (p *process) end() error {
	p.cancel()
	return p.gone()
}

// gone waits for the end of the process and returns what Run returned, as often as it is asked.
func (p *process) gone() error {
	p.once.Do(func() { p.left = <-p.ended })
	return p.left
}

func (p *process) submit(def *workflow.Definition) workflow.RunID {
	p.t.Helper()
	id, err := p.s.Submit(p.ctx, Submission{Definition: def})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *process) wait(id workflow.RunID) engine.Head {
	p.t.Helper()
	head, err := p.s.Wait(p.ctx, id)
	if err != nil {
		p.t.Fatal(err)
	}
	return head
}

// logf appends to the world's log. The caller holds world.mu.
func (w *world) logf(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

// logged returns the lines of the log that contain any of the words.
func (w *world) logged(words ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, line := range w.log {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) }) {
			out = append(out, line)
		}
	}
	return out
}

type fakeStore process

func (f *fakeStore) Create(_ context.Context, epoch uint64, run NewRun) (workflow.RunID, error) {
	w := f.world
	write, lie := true, error(nil)
	if f.onCreate != nil {
		write, lie = f.onCreate(run)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case f.dead.Load():
		return "", errDead
	case epoch < w.written:
		return "", ErrFenced
	}
	for id, there := range w.runs {
		if id == run.ID || run.IdempotencyKey != "" && there.created.IdempotencyKey == run.IdempotencyKey {
			return id, ErrExists
		}
	}
	if write {
		w.written = epoch
		w.runs[run.ID] = &storedRun{created: run, records: asMap(run.Records)}
		w.logf("create %s", run.Workflow)
	}
	return run.ID, lie
}

func asMap(records []Record) map[string][]byte {
	m := map[string][]byte{}
	for _, r := range records {
		m[r.Key] = r.Value
	}
	return m
}

func (f *fakeStore) Load(_ context.Context, id workflow.RunID) ([]Record, Definition, error) {
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.dead.Load() {
		return nil, Definition{}, errDead
	}
	run := w.runs[id]
	if run == nil {
		return nil, Definition{}, ErrNotFound
	}
	var records []Record
	for _, key := range slices.Sorted(maps.Keys(run.records)) {
		records = append(records, Record{Key: key, Value: run.records[key]})
	}
	return records, run.created.Definition, nil
}

func (f *fakeStore) LoadAll(ctx context.Context, ids []workflow.RunID) (map[workflow.RunID]Loaded, error) {
	loaded := map[workflow.RunID]Loaded{}
	for _, id := range ids {
		if f.onLoadAll != nil {
			if give, err := f.onLoadAll(id); err != nil {
				return nil, err
			} else if !give {
				continue
			}
		}
		records, def, err := f.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		loaded[id] = Loaded{records, def}
	}
	return loaded, nil
}

func (f *fakeStore) Save(_ context.Context, epoch uint64, id workflow.RunID, records []Record, done bool) error {
	w := f.world
	write, err := true, error(nil)
	if f.onSave != nil {
		write, err = f.onSave(id, records)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	run := w.runs[id]
	switch {
	case f.dead.Load():
		return errDead
	case epoch < w.written:
		return ErrFenced
	case run == nil:
		return ErrNotFound
	}
	if write {
		w.written = epoch
		maps.Copy(run.records, asMap(records))
		run.done = done
		var keys []string
		for _, r := range records {
			keys = append(keys, r.Key)
		}
		w.saves = append(w.saves, strings.Join(keys, " "))
		w.logf("save")
	}
	return err
}

func (f *fakeStore) List(_ context.Context, filter Filter) ([]Summary, error) {
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.dead.Load() {
		return nil, errDead
	}
	var list []Summary
	for id, run := range w.runs {
		sum := Summary{
			ID: id, Workflow: run.created.Workflow, Namespace: run.created.Namespace, Parent: run.created.Parent, Labels: run.created.Labels,
			CreatedAt: run.created.CreatedAt, Done: run.done, Head: run.records[HeadKey],
		}
		if filter.Matches(&sum) {
			list = append(list, sum)
		}
	}
	NewestFirst(list)
	if filter.Limit > 0 {
		list = list[:min(len(list), filter.Limit)]
	}
	return list, nil
}

func (f *fakeStore) Delete(_ context.Context, epoch uint64, id workflow.RunID) error {
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	run := w.runs[id]
	switch {
	case f.dead.Load():
		return errDead
	case epoch < w.written:
		return ErrFenced
	case run == nil:
		return ErrNotFound
	case !run.done:
		return ErrConflict
	}
	if _, archived := w.archive[id]; !archived && f.cfg.Housekeeping != nil {
		f.t.Errorf("run %s of %s is deleted, and was not archived", id, run.created.Workflow)
	}
	delete(w.runs, id)
	return nil
}

func (f *fakeStore) Cluster(context.Context) (string, error) { return "cluster", nil }

type fakeElector process

func (f *fakeElector) lease(epoch uint64) Leadership {
	if f.trust == 0 {
		return Leadership{Epoch: epoch}
	}
	return Leadership{Epoch: epoch, TrustedUntil: time.Now().Add(f.trust)}
}

func (f *fakeElector) Acquire(context.Context) (Leadership, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.epoch++
	l := f.lease(f.world.epoch)
	l.Restored = f.restored
	return l, nil
}

func (f *fakeElector) Renew(_ context.Context, l Leadership) (Leadership, error) {
	if f.onRenew != nil {
		return f.onRenew(l)
	}
	return f.lease(l.Epoch), nil
}

func (f *fakeElector) Release(context.Context, Leadership) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.logf("release")
	return nil
}

func (f *fakeElector) Leader(context.Context) (string, error) { return "me", nil }

// fakeExecutor runs attempts in its world. By default each one ends well at once; hold keeps those of a task running until
// finish.
type fakeExecutor struct {
	p    *process
	wake chan struct{}

	mu    sync.Mutex // guards queue and doubts
	queue []engine.Event

	hold       func(engine.Start) bool  // nil: none
	onStart    func(engine.Start) error // before the start; an error refuses it
	afterStart func(engine.Start) error // after it happened
	onKill     func(engine.Start) error
	double     bool                        // every report comes twice
	quiet      bool                        // Accepted and Started are not reported
	doubts     int                         // Doubt was called so often
	once       map[workflow.AttemptID]bool // ends that were reported and will not be again; nil: they are repeated
}

func exited(code int) *engine.Outcome {
	return &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &code}
}

func (x *fakeExecutor) Doubt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.doubts++
}

func (x *fakeExecutor) Start(ctx context.Context, s engine.Start) error {
	if x.p.dead.Load() {
		return errDead
	}
	if x.onStart != nil {
		if err := x.onStart(s); err != nil {
			return err
		}
	}
	w := x.p.world
	w.mu.Lock()
	a := w.attempts[s.Attempt]
	if a == nil {
		a = &attempt{start: s}
		w.attempts[s.Attempt] = a
	}
	w.logf("start %s", short(s.Attempt))
	switch {
	case a.outcome != nil || a.barred || a.ran:
	case s.Accepted != 0:
		a.outcome = &engine.Outcome{Kind: engine.OutcomeLost, Message: "not there any more"}
	default:
		a.ran = true
		w.begun = append(w.begun, s.Attempt)
		w.running++
		w.peak = max(w.peak, w.running)
		if x.hold == nil || !x.hold(s) {
			w.end(a, exited(0))
		}
	}
	w.mu.Unlock()
	x.tell(s.Attempt)
	if x.afterStart != nil {
		return x.afterStart(s)
	}
	return ctx.Err()
}

// end is the end of a running attempt. The caller holds mu.
func (w *world) end(a *attempt, o *engine.Outcome) {
	if a.outcome == nil {
		a.outcome = o
		if a.ran {
			w.running--
		}
		w.logf("end %s", short(a.start.Attempt))
	}
}

// short is the task, instance and number of an attempt.
func short(id workflow.AttemptID) string {
	_, task, instance, number, err := id.Parse()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%d/%d/%d", task, instance, number)
}

func (x *fakeExecutor) Kill(_ context.Context, s engine.Start) error {
	if x.p.dead.Load() {
		return errDead
	}
	if x.onKill != nil {
		if err := x.onKill(s); err != nil {
			return err
		}
	}
	w := x.p.world
	w.mu.Lock()
	a := w.attempts[s.Attempt]
	if a == nil {
		a = &attempt{start: s, barred: true}
		w.attempts[s.Attempt] = a
	}
	w.logf("kill %s", short(s.Attempt))
	w.end(a, &engine.Outcome{Kind: engine.OutcomeKilled})
	w.mu.Unlock()
	x.tell(s.Attempt)
	return nil
}

// finish ends a held attempt.
func (x *fakeExecutor) finish(id workflow.AttemptID, o *engine.Outcome) {
	x.p.world.mu.Lock()
	x.p.world.end(x.p.world.attempts[id], o)
	x.p.world.mu.Unlock()
	x.tell(id)
}

// tell queues what is known of an attempt.
func (x *fakeExecutor) tell(id workflow.AttemptID) {
	w := x.p.world
	w.mu.Lock()
	a := *w.attempts[id]
	w.mu.Unlock()
	var events []engine.Event
	if a.ran && !x.quiet {
		events = append(events, engine.Event{Kind: engine.Accepted, Attempt: id, Index: 7}, engine.Event{Kind: engine.Started, Attempt: id})
	}
	if a.outcome != nil && !a.settled {
		events = append(events, engine.Event{Kind: engine.Ended, Attempt: id, Outcome: a.outcome})
	}
	if x.once != nil && a.outcome != nil {
		if x.once[id] {
			events = nil
		}
		x.once[id] = true
	}
	if x.double {
		events = append(events, events...)
	}
	x.mu.Lock()
	x.queue = append(x.queue, events...)
	x.mu.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *fakeExecutor) Watch(ctx context.Context, report func(engine.Event)) error {
	for {
		x.mu.Lock()
		queue := x.queue
		x.queue = nil
		x.mu.Unlock()
		for _, e := range queue {
			if x.p.dead.Load() {
				return errDead
			}
			report(e)
		}
		select {
		case <-x.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (x *fakeExecutor) Settle(_ context.Context, id workflow.AttemptID) {
	if x.p.dead.Load() {
		return
	}
	x.p.world.mu.Lock()
	defer x.p.world.mu.Unlock()
	x.p.world.logf("settle %s", short(id))
	if a := x.p.world.attempts[id]; a != nil {
		a.settled = true
	}
}

func (x *fakeExecutor) Logs(context.Context, LogRequest) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("log")), nil
}

// pass lets virtual time pass: tests run in a bubble of testing/synctest.
func pass(d time.Duration) { <-time.After(d) }
