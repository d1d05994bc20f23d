// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// A leadership without an end is looked at this often all the same: somebody may have taken it away by hand.
const renewUnbounded = 10 * time.Second

// term is one leadership: everything in it belongs to one epoch and ends with it.
type term struct {
	s         *Scheduler
	ctx       context.Context // ends with the leadership; its cause says why
	cancel    context.CancelCauseFunc
	epoch     uint64
	clock     *clock
	admission *admission
	reconcile *reconciliation
	attempts  *attempts
	children  *children
	calls     *calls
	gates     *gates
	recovers  bool // the store was restored before it
	feed      *feed
	wrote     atomic.Bool    // this leadership has written: the older ones are fenced
	ended     atomic.Int64   // runs that have ended in it, for housekeeping
	loads     chan struct{}  // a place for every load under way
	ready     chan struct{}  // closed when every active run is in runs, or the term is over
	group     sync.WaitGroup // every goroutine of the term
	over      chan struct{}  // closed when the leadership is released, or lost
	released  error          // why it could not be released; read after over

	mu      sync.Mutex // guards everything below
	lease   Leadership
	renewed chan struct{} // closed and replaced by each renewal
	runs    map[workflow.RunID]*run
	closed  bool // nothing is started any more
}

func newTerm(ctx context.Context, s *Scheduler, l Leadership) *term {
	t := &term{
		s: s, epoch: l.Epoch, recovers: l.Restored, lease: l, clock: newClock(s.cfg.Now, s.log), admission: newAdmission(s.cfg.MaxInflight),
		loads: make(chan struct{}, loadsAtOnce), ready: make(chan struct{}), renewed: make(chan struct{}), over: make(chan struct{}),
		reconcile: newReconciliation(),
		runs:      map[workflow.RunID]*run{},
	}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.feed = newFeed(t.epoch, t.clock, t.ctx.Done())
	t.attempts, t.children, t.calls, t.gates = newAttempts(t, s.cfg.MaxCalls), newChildren(t), newCalls(t), newGates(t)
	return t
}

func (t *term) leadership() Leadership {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lease
}

// renew keeps the leadership until it is lost or the term ends.
func (t *term) renew() {
	for failures := 0; ; {
		l := t.leadership()
		pause := renewUnbounded
		if !l.TrustedUntil.IsZero() {
			// Two more tries fit before the trust is over.
			pause = min(time.Until(l.TrustedUntil)/3, renewUnbounded)
		}
		if failures > 0 {
			pause = min(t.s.cfg.Backoff.Delay(failures), max(pause, t.s.cfg.Backoff.Base))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		ctx, cancel := context.WithTimeout(t.ctx, t.s.cfg.CallTimeout)
		next, err := t.s.cfg.Elector.Renew(ctx, l)
		cancel()
		switch {
		case t.ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced):
			t.lost(fmt.Errorf("renew: %w", err))
			return
		case err != nil:
			failures++
			t.s.log.Warn("leadership could not be renewed; trying again", "epoch", t.epoch, "failures", failures, "error", err)
			continue
		}
		failures = 0
		t.mu.Lock()
		t.lease = next
		close(t.renewed)
		t.renewed = make(chan struct{})
		t.mu.Unlock()
	}
}

// lost ends the term.
func (t *term) lost(err error) { t.cancel(err) }

// awaitTrust waits until the leadership may be trusted. An error means that the term is over.
func (t *term) awaitTrust() error {
	for {
		t.mu.Lock()
		until, renewed := t.lease.TrustedUntil, t.renewed
		t.mu.Unlock()
		if t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		if until.IsZero() || time.Now().Before(until) {
			return nil
		}
		select {
		case <-renewed:
		case <-t.ctx.Done():
		}
	}
}

// add starts the goroutine of a run that is not there yet. The caller holds mu.
func (t *term) add(r *run) {
	t.runs[r.id] = r
	t.group.Go(r.drive)
}

// start adds a run and starts its goroutine, unless the run is there already, and returns the one that is there. After the
// end of the term it only marks the run as over.
func (t *term) start(r *run) *run {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		close(r.over)
		return r
	}
	if there := t.runs[r.id]; there != nil {
		return there
	}
	t.add(r)
	return r
}

// fence makes sure that nothing an older leadership is late with is written any more. id is a run that is not over.
func (t *term) fence(ctx context.Context, id workflow.RunID) error {
	if t.wrote.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.CallTimeout)
	defer cancel()
	if err := t.s.cfg.Store.Save(ctx, t.epoch, id, nil, false); err != nil {
		return err
	}
	t.wrote.Store(true)
	return nil
}

// wait returns when every goroutine of the term has ended.
func (t *term) wait() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.group.Wait()
	t.feed.close()
}

// run is the owner of a run, nil when nobody drives it.
func (t *term) run(id workflow.RunID) *run {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.runs[id]; r != nil && !r.claimed {
		return r
	}
	return nil
}

// claim keeps a run from being driven until it is released; whoever wants to drive it waits as for one that is about to
// leave. It is not ok when somebody drives it.
func (t *term) claim(id workflow.RunID) (release func(), ok bool) {
	r := newRun(t, id)
	r.claimed = true
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.runs[id] != nil {
		return nil, false
	}
	t.runs[id] = r
	return func() {
		t.forget(r)
		close(r.over)
	}, true
}

func (t *term) forget(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.runs[r.id] == r {
		delete(t.runs, r.id)
	}
}

// touch tells the readers of an attempt's run that there is something new to be told, although its state is the same.
func (t *term) touch(attempt workflow.AttemptID) {
	if id, _, _, _, err := attempt.Parse(); err == nil {
		if r := t.run(id); r != nil {
			r.bump()
		}
	}
}

// watch keeps the executor's reports coming.
func (t *term) watch() {
	for failures := 0; ; {
		began := time.Now()
		err := t.s.cfg.Executor.Watch(t.ctx, t.report)
		if t.ctx.Err() != nil {
			return
		}
		if time.Since(began) > t.s.cfg.Backoff.Max {
			failures = 0
		}
		failures++
		t.s.log.Warn("watching the executor broke; starting again", "failures", failures, "error", err)
		if t.s.cfg.Backoff.Wait(t.ctx, failures) != nil {
			return
		}
	}
}

// report hands an observation to its run. It blocks while the run is busy.
func (t *term) report(e engine.Event) {
	id, _, _, _, err := e.Attempt.Parse()
	if err != nil {
		t.s.log.Warn("report about something that is no attempt", "event", e.Kind, "error", err)
		return
	}
	r := t.run(id)
	if r == nil {
		t.s.log.Debug("report about a run that is not active", "event", e.Kind, "attempt", e.Attempt)
		return
	}
	r.send(t.ctx, message{event: e})
}
