// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// reconciliation is the first work of a leadership: every run that was active is loaded, and the executor is asked about every
// attempt of theirs that has no verdict, which it adopts, or tells the end of.
type reconciliation struct {
	mu      sync.Mutex // guards everything below
	runs    int        // not loaded yet
	open    map[workflow.AttemptID]bool
	over    bool
	done    chan struct{} // closed when it is over
	metRuns int           // of all that there are
	metOpen int
}

func newReconciliation() *reconciliation {
	return &reconciliation{runs: 1, open: map[workflow.AttemptID]bool{}, done: make(chan struct{})}
}

// await adds the runs that are to be loaded, once: until then it is not known how many there are.
func (r *reconciliation) await(runs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metRuns = runs
	r.runs += runs - 1
	r.check()
}

// ask adds an attempt of a run that has not arrived.
func (r *reconciliation) ask(attempt workflow.AttemptID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.open[attempt] = true
		r.metOpen++
	}
}

// arrive says that a run is loaded, or will take longer than the others should wait.
func (r *reconciliation) arrive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs--
	r.check()
}

// asked says that the executor knows an attempt now, or that asking about it fails again and again.
func (r *reconciliation) asked(attempt workflow.AttemptID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, attempt)
	r.check()
}

// check ends it when nothing is left. The caller holds mu.
func (r *reconciliation) check() {
	if !r.over && r.runs == 0 && len(r.open) == 0 {
		r.over = true
		close(r.done)
	}
}

// left says how many runs and attempts it still waits for.
func (r *reconciliation) left() (runs, attempts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs, len(r.open)
}

// met says how many runs and attempts there were.
func (r *reconciliation) met() (runs, attempts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.metRuns, r.metOpen
}

func (r *reconciliation) isOver() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// reconciles waits for the end of the reconciliation, and tells of it. Where the store was restored it keeps everything new out
// until then: what an earlier leadership did, of which the store knows nothing any more, is to be found, and must not meet what
// follows from its not being known.
func (t *term) reconciles() {
	began := time.Now()
	if t.recovers {
		t.s.log.Warn("the store was restored from a backup; nothing new begins before everything that was under way is found", "epoch", t.epoch)
	}
	select {
	case <-t.reconcile.done:
	case <-t.ctx.Done():
		return
	}
	runs, attempts := t.reconcile.met()
	t.s.log.Info("everything that was under way is known", "epoch", t.epoch, "runs", runs, "attempts", attempts,
		"took", time.Since(began).Round(time.Millisecond))
	if t.recovers {
		t.admission.arrive(unknown)
	}
}

// restoredNotice says for people that nothing new begins; empty when it does.
func (t *term) restoredNotice() string {
	if !t.recovers || t.reconcile.isOver() {
		return ""
	}
	runs, attempts := t.reconcile.left()
	return fmt.Sprintf("the store was restored from a backup: nothing new begins before what was under way is found (%d runs, %d attempts to go)",
		runs, attempts)
}

// AwaitReconciled waits until this process leads and its executor knows everything that was under way before, and returns the
// epoch of the leadership.
func (s *Scheduler) AwaitReconciled(ctx context.Context) (epoch uint64, err error) {
	for {
		t, changed := s.current()
		var done, renewed <-chan struct{} // nil: nothing to wait for
		switch {
		case t == nil:
		case !t.reconcile.isOver():
			done = t.reconcile.done
		case s.Leading():
			return t.epoch, nil
		default: // it may not trust in that at the moment
			t.mu.Lock()
			renewed = t.renewed
			t.mu.Unlock()
		}
		select {
		case <-changed:
		case <-done:
		case <-renewed:
		case <-ctx.Done():
			return 0, fmt.Errorf("not reconciled yet: %w", ctx.Err())
		}
	}
}

// Surpassed gives the leadership up if an epoch above its own has acted: the store was restored to a state from before that
// epoch. It reports whether it did.
func (s *Scheduler) Surpassed(epoch uint64) bool {
	t, _ := s.current()
	if t == nil || epoch <= t.epoch {
		return false
	}
	t.lost(fmt.Errorf("%w: epoch %d has acted, above %d: the store was restored from a backup", ErrFenced, epoch, t.epoch))
	return true
}
