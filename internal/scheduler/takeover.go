// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// At a takeover, so many runs are loaded at once.
const loadsAtOnce = 8

// soon is how much later something may be due for its run to be loaded before the others: longer than loading thousands takes.
const soon = time.Second

const (
	// firstRuns is how many of them are loaded before all others, which wait until those have acted, headStart at most: what
	// they write would stand in line behind all that is read.
	firstRuns = BulkRuns / 2
	headStart = 200 * time.Millisecond
)

// activeRun is a run that a takeover finds: what the list tells of it.
type activeRun struct {
	Summary
	head    engine.Head
	outlook *engine.Outlook // nil: not known
}

// places are those that the admission is to keep for the run.
func (a *activeRun) places() int {
	if a.outlook == nil {
		return unknown
	}
	return a.outlook.Live
}

// wake is when something is due of the run, by a clock that says now, as far as that is known; 0: nothing is.
func (a *activeRun) wake(now workflow.Time) workflow.Time {
	if a.outlook == nil || a.outlook.Wake == 0 {
		return 0
	}
	return a.outlook.Wake.Add(-aheadOf(now, a.head.LastAt))
}

// takeOver starts every active run.
func (t *term) takeOver() {
	defer close(t.ready)
	for failures := 0; ; {
		ctx, cancel := context.WithTimeout(t.ctx, t.s.cfg.CallTimeout)
		list, err := t.s.cfg.Store.List(ctx, Filter{Active: true, Children: true})
		cancel()
		if t.ctx.Err() != nil {
			return
		}
		if err == nil {
			active := t.survey(list)
			t.reconcile.await(len(active))
			t.gates.rebuild(active)
			t.startAll(active)
			if len(active) > 0 {
				t.s.log.Info("runs taken over", "runs", len(active))
			}
			return
		}
		failures++
		t.s.log.Warn("active runs could not be listed; trying again", "failures", failures, "error", err)
		if t.s.cfg.Backoff.Wait(t.ctx, failures) != nil {
			return
		}
	}
}

// survey reads the heads of the runs in a list, and puts the oldest first, so that runs of one priority keep their turns. One
// whose head cannot be read counts as begun: better a run too few than one too many.
func (t *term) survey(list []Summary) []activeRun {
	active := make([]activeRun, 0, len(list))
	for _, s := range slices.Backward(list) {
		head, outlook, err := engine.ReadHead(s.Head)
		if err != nil {
			t.s.log.Warn("the head of a run cannot be read; it counts as begun", "run", s.ID, "error", err)
			head.Status = workflow.RunRunning
		}
		active = append(active, activeRun{s, head, outlook})
	}
	return active
}

// startAll adds the runs that a takeover finds: all of them, before the first of them can ask for another one. Those of which
// something is due, or will be in a moment, are loaded before the others, in that order.
func (t *term) startAll(active []activeRun) {
	bulk, _ := t.s.cfg.Store.(Bulk)
	now := t.clock.now()
	until := now.Add(soon)
	for _, a := range active { // of all, before the first of them arrives
		t.admission.await(a.places())
	}
	var due, waiting []waitingRun
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range active {
		r := newRun(t, a.ID)
		r.awaited, r.places = true, a.places()
		if bulk != nil {
			r.ahead = make(chan aheadLoad)
			if w := (waitingRun{r, r.ahead, a.wake(now)}); w.wake != 0 && w.wake <= until {
				due = append(due, w)
			} else {
				waiting = append(waiting, w)
			}
		}
		t.add(r)
	}
	slices.SortStableFunc(due, func(a, b waitingRun) int { return cmp.Compare(a.wake, b.wake) })
	if bulk != nil {
		t.group.Go(func() { t.loadInTurn(bulk, due, waiting) })
	}
}

// loadInTurn loads some runs first, gives them time to act, and loads all the others.
func (t *term) loadInTurn(store Bulk, first, others []waitingRun) {
	alone := first[:min(len(first), firstRuns)]
	if len(alone) > 0 {
		t.loadAhead(store, alone)
		t.awaitTurns(alone)
	}
	chunks := slices.Collect(slices.Chunk(slices.Concat(first[len(alone):], others), BulkRuns))
	var next atomic.Int64
	for range min(loadsAtOnce, len(chunks)) {
		t.group.Go(func() {
			for i := next.Add(1); i <= int64(len(chunks)); i = next.Add(1) {
				t.loadAhead(store, chunks[i-1])
			}
		})
	}
}

// awaitTurns waits until runs have done what was due, but not for long.
func (t *term) awaitTurns(runs []waitingRun) {
	enough := time.NewTimer(headStart)
	defer enough.Stop()
	for _, w := range runs {
		select {
		case <-w.run.turned:
		case <-w.run.over:
		case <-enough.C:
			return
		case <-t.ctx.Done():
			return
		}
	}
}

// waitingRun is a run that waits for what is loaded for it.
type waitingRun struct {
	run   *run
	ahead chan<- aheadLoad
	wake  workflow.Time // when something is due of it; 0: nothing is
}

// aheadLoad is what was loaded for a run together with others. The run closes taken when it has made its state of it.
type aheadLoad struct {
	Loaded
	taken chan struct{}
}

// loadAhead loads runs at once, and gives each what is its own, one after the other: no more is in memory than is worked on.
func (t *term) loadAhead(store Bulk, runs []waitingRun) {
	var ids []workflow.RunID
	for _, r := range runs {
		ids = append(ids, r.run.id)
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.s.cfg.CallTimeout)
	loaded, err := store.LoadAll(ctx, ids)
	cancel()
	if err != nil && t.ctx.Err() == nil {
		t.s.log.Warn("runs could not be loaded together; they load one by one", "runs", len(runs), "error", err)
	}
	for _, r := range runs {
		l, ok := loaded[r.run.id]
		if !ok {
			close(r.ahead)
			continue
		}
		taken := make(chan struct{})
		select {
		case r.ahead <- aheadLoad{l, taken}:
			<-taken
		case <-t.ctx.Done():
			return
		}
	}
}
