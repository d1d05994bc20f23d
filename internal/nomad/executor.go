// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Executor runs attempts as Nomad batch jobs.
type Executor struct {
	cfg    Config
	log    hclog.Logger
	client *client

	mu       sync.Mutex // guards everything below, and the attempts
	attempts map[workflow.AttemptID]*attempt
	jobs     map[string]*attempt // by job ID
	realms   map[realm]*realmState
	regions  map[string]uint64   // highest index seen, by region
	doubts   bool                // Nomad may have been restored before this executor knew it
	doubted  workflow.Time       // since when
	rolls    map[string]uint64   // by region: what was placed up to this index is to be asked for; 0 = nothing is
	mute     map[realm]time.Time // the workers may not be asked until then
	able     map[string]bool     // by node: its client knows rollSignal
	nodes    map[string]knownNode
	avoid    []string // IDs of nodes that new jobs are kept off
	valid    map[bodyKey]*validation
	watch    *watch     // the running Watch
	reports  []*attempt // with events to report, in order
	reported chan struct{}
	purges   purgeQueue
	parents  families
}

var _ scheduler.Executor = (*Executor)(nil)

// attempt is what the executor knows of one attempt, from its Start or Kill to its Settle.
//
//	started ─▶ accepted ─▶ running ─▶ outcome ─▶ settled
//	   └──────────┴─────────┴── cause: the job is being stopped ──▶ outcome
type attempt struct {
	id    workflow.AttemptID
	jobID string
	turn  chan struct{} // held by the Start or Kill under way

	// Guarded by Executor.mu.
	start       engine.Start // without its body once accepted
	realm       realm
	groups      []shape // of its job; empty until that is known
	whole       bool    // its job is not Cairn's own: an existing job file, or the child of a dispatch
	killTimeout time.Duration
	accepted    uint64
	unsure      bool // an earlier start may have reached Nomad
	killed      bool
	lostOn      engine.Place // the allocation and the worker that is taken for dead
	allocs      map[string]*alloc
	job         jobState
	tombstone   string
	cause       *engine.Outcome
	stopEval    string // evaluation after which a stopped job has placed everything it ever will
	settledJob  bool
	settledAt   time.Time
	lostSince   time.Time           // since when no worker answers for it
	unclear     time.Time           // since when the news of its allocations do not fit together
	listed      bool                // since the realm was last connected
	missing     time.Time           // since when Nomad does not know the job
	look        bool                // its allocations are to be read
	doubt       bool                // a list did not name its job
	whyHeld     bool                // its evaluations are to be read
	mayBeOver   bool                // whole only: something has happened since Nomad last said that it would still place something
	deadSince   time.Time           // whole only: since when Nomad calls the job dead, with nothing having happened since
	dead        bool                // whole only: Nomad will place nothing more
	lingering   bool                // the nodes of its lingering allocations are to be asked for
	barring     barring             // dispatch only
	roll        map[string]*inquiry // by allocation: what its worker was asked
	census      bool                // Nomad was restored: what it does not name in a list of all allocations it does not know
	outcome     *engine.Outcome
	place       engine.Place
	tending     bool
	changed     chan struct{} // full when something above has changed
	settled     bool

	events    []engine.Event // to be reported
	queued    bool           // in Executor.reports
	toldStart bool
	held      string // last Held told
}

// New makes an executor. It connects to nothing yet.
func New(cfg Config) (*Executor, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Executor{
		cfg: cfg, log: cfg.Logger.Named("nomad"), client: c,
		attempts: map[workflow.AttemptID]*attempt{}, jobs: map[string]*attempt{}, realms: map[realm]*realmState{},
		regions: map[string]uint64{}, rolls: map[string]uint64{}, mute: map[realm]time.Time{}, able: map[string]bool{}, valid: map[bodyKey]*validation{},
		reported: make(chan struct{}, 1),
	}, nil
}

// Stats returns the calls made so far.
func (e *Executor) Stats() Stats { return e.client.stats() }

// Start implements scheduler.Executor.
func (e *Executor) Start(ctx context.Context, s engine.Start) error {
	a, err := e.attempt(s)
	if err != nil {
		return err
	}
	if err := a.take(ctx); err != nil {
		return err
	}
	defer a.give()
	e.mu.Lock()
	switch {
	case a.killed: // whoever kills sees to it that nothing starts
		e.mu.Unlock()
		return nil
	case a.accepted != 0 || a.outcome != nil:
		e.retell(a)
		e.mu.Unlock()
		return nil
	}
	// A start that was decided a while ago may have been tried by somebody before us, who was cut off.
	a.unsure = a.unsure || e.age(s) > freshIntent
	a.start = s
	e.mu.Unlock()
	switch {
	case s.Accepted != 0:
		return e.reattach(ctx, a, s)
	case s.Kind == workflow.BodyDispatch:
		return e.launchDispatch(ctx, a, s)
	}
	return e.launch(ctx, a, s)
}

// age is the time since a start was decided.
func (e *Executor) age(s engine.Start) time.Duration {
	if s.IntentAt == 0 {
		return 0
	}
	return e.cfg.Now().Sub(s.IntentAt.Time())
}

// freshIntent is the age below which a start that was not tried by this executor was not tried at all: more than a save
// and the wait for a place among the calls take.
const freshIntent = 5 * time.Second

// Kill implements scheduler.Executor.
func (e *Executor) Kill(ctx context.Context, s engine.Start) error {
	a, err := e.attempt(s)
	if err != nil {
		return err
	}
	e.mu.Lock()
	a.killed = true
	if s.WorkerLost {
		a.lostOn = s.Place
	}
	e.mu.Unlock()
	if err := a.take(ctx); err != nil {
		return err
	}
	defer a.give()
	e.mu.Lock()
	if a.outcome != nil || a.cause != nil && a.stopEval != "" {
		e.retell(a)
		e.mu.Unlock()
		return nil
	}
	accepted := a.accepted != 0
	if !accepted {
		a.start = s
	}
	e.mu.Unlock()
	if !accepted && s.Accepted != 0 {
		if err := e.reattach(ctx, a, s); err != nil {
			return err
		}
		accepted = true
	}
	if !accepted {
		bar := e.bar
		if s.Kind == workflow.BodyDispatch {
			bar = e.barDispatch
		}
		barred, err := bar(ctx, a, s, tombKilled)
		if err != nil || barred {
			return err
		}
	}
	if err := e.stop(ctx, a, outcome(engine.OutcomeKilled, "stopped")); err != nil {
		return e.troubled(err, true)
	}
	return nil
}

// Settle implements scheduler.Executor.
func (e *Executor) Settle(ctx context.Context, id workflow.AttemptID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.attempts[id]
	if a == nil {
		return
	}
	a.settled = true
	a.notify()
	delete(e.attempts, id)
	delete(e.jobs, a.jobID)
	e.purges.add(a, e.cfg)
}

// attempt finds or makes the record of an attempt.
func (e *Executor) attempt(s engine.Start) (*attempt, error) {
	id, err := jobID(e.cfg.Cluster, s.Attempt, s.Task)
	if err != nil {
		return nil, fmt.Errorf("start an attempt: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.attempts[s.Attempt]
	if a == nil {
		a = &attempt{
			id: s.Attempt, jobID: id, start: s, turn: make(chan struct{}, 1), changed: make(chan struct{}, 1),
			realm: e.realmOf(s, nil), allocs: map[string]*alloc{},
			killTimeout: defaultKillTimeout, mayBeOver: true,
			whole:   s.Kind == workflow.BodyJob || s.Kind == workflow.BodyDispatch,
			barring: barring{since: time.Now()},
		}
		if s.Kind == workflow.BodyDispatch && s.Place.JobID != "" {
			a.jobID = s.Place.JobID
		}
		e.attempts[s.Attempt], e.jobs[a.jobID] = a, a
	}
	return a, nil
}

func (e *Executor) realmOf(s engine.Start, job *nomadapi.Job) realm {
	return realmOf(e.cfg.Region, s, job)
}

// realmOf says where an attempt's job belongs: the body may name its own namespace and region.
func realmOf(region string, s engine.Start, job *nomadapi.Job) realm {
	r := realm{region: region, namespace: s.Namespace}
	if job != nil && job.Namespace != nil && *job.Namespace != "" {
		r.namespace = *job.Namespace
	}
	if job != nil && job.Region != nil && *job.Region != "" {
		r.region = *job.Region
	}
	if r.namespace == "" {
		r.namespace = nomadapi.DefaultNamespace
	}
	return r
}

// describe notes what judging needs of a job, and has its realm watched. The caller does not hold mu.
func (e *Executor) describe(a *attempt, s engine.Start, job *nomadapi.Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.realm = e.realmOf(s, job)
	a.portray(job)
	e.watchRealm(a.realm)
}

// portray notes what judging needs of the attempt's job. The caller holds mu.
func (a *attempt) portray(job *nomadapi.Job) { a.groups, a.killTimeout = shapes(job), killTimeout(job) }

// take waits for the attempt's turn: its starts and kills go one by one.
func (a *attempt) take(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *attempt) give() { <-a.turn }

// notify wakes whoever waits for a change of the attempt.
func (a *attempt) notify() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// accept records that the job exists, and tells. The caller holds mu.
func (e *Executor) accept(a *attempt, index uint64) {
	a.accepted = max(index, 1)
	a.start.Body = nil
	e.seen(a.realm, index)
	e.tell(a, engine.Event{Kind: engine.Accepted, Attempt: a.id, Index: a.accepted, Place: engine.Place{JobID: a.jobID}})
	e.advance(a)
}

// hasJob: the job ID is that of a job, not only the beginning of what a dispatch would have made. The caller holds mu.
func (a *attempt) hasJob() bool { return a.start.Kind != workflow.BodyDispatch || a.accepted != 0 }

// finish records how the attempt ended, once, and tells. The caller holds mu.
func (e *Executor) finish(a *attempt, o *engine.Outcome, of *alloc) {
	if a.outcome != nil {
		return
	}
	a.outcome, a.place = o, engine.Place{}
	if a.hasJob() {
		a.place.JobID = a.jobID
	}
	if of != nil {
		a.place.Node, a.place.AllocID = of.NodeName, of.ID
	}
	a.notify()
	e.tell(a, engine.Event{Kind: engine.Ended, Attempt: a.id, Place: a.place, StartedAt: o.StartedAt, Outcome: o})
}

// retell repeats what was told, for a scheduler that has lost it. The caller holds mu.
func (e *Executor) retell(a *attempt) {
	if a.accepted != 0 {
		e.tell(a, engine.Event{Kind: engine.Accepted, Attempt: a.id, Index: a.accepted, Place: engine.Place{JobID: a.jobID}})
	}
	if a.outcome != nil {
		e.tell(a, engine.Event{Kind: engine.Ended, Attempt: a.id, Place: a.place, StartedAt: a.outcome.StartedAt, Outcome: a.outcome})
		return
	}
	a.toldStart, a.held = false, ""
	e.advance(a)
}

// tell queues an event for Watch. What waits there is bounded by the attempts in flight: of each kind, only the last is kept.
// The caller holds mu.
func (e *Executor) tell(a *attempt, ev engine.Event) {
	a.events = append(slices.DeleteFunc(a.events, func(old engine.Event) bool { return old.Kind == ev.Kind }), ev)
	if !a.queued {
		a.queued = true
		e.reports = append(e.reports, a)
		select {
		case e.reported <- struct{}{}:
		default:
		}
	}
}

// nextReports takes the events of the next attempt that has some.
func (e *Executor) nextReports() []engine.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.reports) > 0 {
		a := e.reports[0]
		e.reports[0] = nil
		e.reports = e.reports[1:]
		a.queued = false
		events := a.events
		a.events = nil
		if !a.settled && len(events) > 0 {
			return events
		}
	}
	return nil
}

// apply takes what an event or a list says of an allocation, unless it is older than what is known. The caller holds mu.
func (a *attempt) apply(next *alloc) (changed bool) {
	known := a.allocs[next.ID]
	if known != nil && known.ModifyIndex >= next.ModifyIndex {
		return false
	}
	a.allocs[next.ID] = next
	a.missing = time.Time{}
	a.stirs()
	return true
}

// stirs notes that something has happened to the job, after which it may be over, or not any more. The caller holds mu.
func (a *attempt) stirs() { a.mayBeOver, a.deadSince, a.dead = true, time.Time{}, false }

// facts collects what judging needs. The caller holds mu.
func (e *Executor) facts(a *attempt) *facts {
	f := &facts{
		groups: a.groups, whole: a.whole, dead: a.dead, job: a.job, tombstone: a.tombstone, killed: a.killed,
		immediate: a.start.OnWorkerLoss.Mode == workflow.Immediate, deadAlloc: a.lostOn.AllocID, deadName: a.lostOn.Node,
		cause: a.cause, settled: a.settledJob,
		looked: !a.unclear.IsZero() && time.Since(a.unclear) > unclearFor,
		waited: !a.lostSince.IsZero() && !time.Now().Before(e.lossEnds(a)),
	}
	for _, alloc := range a.allocs {
		f.allocs = append(f.allocs, alloc)
	}
	slices.SortFunc(f.allocs, func(x, y *alloc) int {
		return cmp.Or(cmp.Compare(x.CreateIndex, y.CreateIndex), cmp.Compare(x.ID, y.ID))
	})
	return f
}

// unclearFor is how long news that do not fit together are looked at before the best is made of them, and unclearLook how often.
// Nomad's events tell of one change of its state one after the other.
const (
	unclearFor  = 5 * time.Second
	unclearLook = 100 * time.Millisecond
)

// lossEnds is when a task on a worker that does not answer is certainly over: the client kills it stop_after its last
// heartbeat, which was before Nomad gave the worker up. The caller holds mu.
func (e *Executor) lossEnds(a *attempt) time.Time {
	return a.lostSince.Add(stopAfter(a.start) + a.killTimeout + e.cfg.LossMargin)
}
