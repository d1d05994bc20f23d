// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// pace is how a call that failed is repeated while watching. Kept short at its top: when Nomad is back, people wait.
var pace = scheduler.Backoff{Base: 100 * time.Millisecond, Max: 5 * time.Second}

// watch is one running Watch. Everything it starts ends before it returns.
type watch struct {
	ctx   context.Context
	group sync.WaitGroup
	kick  chan struct{} // full when some realm wants a list
}

// realmState is what is known of one region and namespace.
type realmState struct {
	streaming bool
	index     uint64 // of the last event read
	wantList  bool   // attempts wait to be listed
}

// errWatching: there is a Watch already.
var errWatching = errors.New("a watch of this executor is running already")

// Watch implements scheduler.Executor.
func (e *Executor) Watch(ctx context.Context, report func(engine.Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watch{ctx: ctx, kick: make(chan struct{}, 1)}
	if err := e.beginWatch(w); err != nil {
		return err
	}
	defer e.endWatch(w)
	defer cancel()
	for {
		for events := e.nextReports(); events != nil; events = e.nextReports() {
			for _, ev := range events {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				report(ev)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.reported:
		}
	}
}

func (e *Executor) beginWatch(w *watch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watch != nil {
		return errWatching
	}
	e.watch = w
	w.group.Go(func() { e.listing(w) })
	for r := range e.realms {
		e.watchRealm(r)
	}
	for _, a := range e.attempts {
		e.advance(a)
	}
	select {
	case e.reported <- struct{}{}: // something may have been left unreported
	default:
	}
	return nil
}

func (e *Executor) endWatch(w *watch) {
	w.group.Wait()
	e.client.http.CloseIdleConnections() // every one counts against what Nomad allows an address
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watch = nil
	for _, r := range e.realms {
		r.streaming = false
	}
}

// watchRealm has the events of a realm read. The caller holds mu.
func (e *Executor) watchRealm(r realm) {
	state := e.realms[r]
	if state == nil {
		state = &realmState{}
		e.realms[r] = state
	}
	if w := e.watch; w != nil && w.ctx.Err() == nil && !state.streaming {
		state.streaming = true
		w.group.Go(func() { e.streaming(w.ctx, r) })
	}
}

// todo is what an attempt needs from Nomad next.
type todo string

const (
	todoNothing todo = ""
	todoStop    todo = "stop its job"
	todoJob     todo = "read its job"
	todoLook    todo = "read its allocations"
	todoHeld    todo = "read its evaluations"
	todoOutput  todo = "read its output"
	todoSeek    todo = "find its job"
	todoWait    todo = "wait for its worker"
	todoFinal   todo = "find out whether its job is over"
	todoNode    todo = "read the nodes of its allocations"
	todoBar     todo = "make sure that nothing was dispatched"
	todoClear   todo = "read its allocations once more"
	todoAsk     todo = "ask its worker whether it runs"
)

// advance draws what follows from the facts and has it done. The caller holds mu.
func (e *Executor) advance(a *attempt) {
	if a.tending {
		a.notify()
		return
	}
	next, _ := e.next(a)
	if w := e.watch; next != todoNothing && w != nil && w.ctx.Err() == nil {
		a.tending = true
		w.group.Go(func() { e.tend(w.ctx, a) })
	}
}

// next judges an attempt: it tells what can be told and returns what must be done first to tell more. The caller holds mu.
func (e *Executor) next(a *attempt) (todo, *judgement) {
	switch {
	case a.outcome != nil || a.settled:
		return todoNothing, nil
	case a.accepted == 0 && a.barring.reason != "":
		return todoBar, nil
	case a.accepted == 0:
		return todoNothing, nil
	}
	j := e.facts(a).judge()
	if j.running != nil && !a.toldStart {
		a.toldStart = true
		started, _ := j.running.times()
		e.tell(a, engine.Event{
			Kind: engine.Started, Attempt: a.id, StartedAt: started,
			Place: engine.Place{Node: j.running.NodeName, JobID: a.jobID, AllocID: j.running.ID},
		})
	}
	if j.cause != nil && a.cause == nil {
		a.cause = j.cause
		e.log.Info("stopping a job for good", "job", a.jobID, "reason", j.cause.Message)
	}
	switch {
	case j.lossWait && a.lostSince.IsZero():
		a.lostSince = time.Now()
		e.log.Warn("a worker does not answer; waiting for its task to end", "job", a.jobID, "node", j.alloc.NodeName, "until", e.lossEnds(a))
	case !j.lossWait && j.outcome == nil && !j.stop:
		a.lostSince = time.Time{}
	}
	switch {
	case j.unclear && a.unclear.IsZero():
		a.unclear = time.Now()
	case !j.unclear:
		a.unclear = time.Time{}
	}
	switch {
	case j.outcome != nil && j.alloc != nil && succeeded(j.outcome) && !a.whole && (a.start.WantOutput || a.start.WantStdout):
		return todoOutput, &j
	case j.outcome != nil:
		e.finish(a, j.outcome, j.alloc)
		return todoNothing, nil
	case j.stop:
		return todoStop, &j
	case j.readJob:
		return todoJob, &j
	case a.look:
		return todoLook, &j
	case j.unclear:
		return todoClear, &j
	case a.whyHeld && a.waits():
		return todoHeld, &j
	case !a.missing.IsZero():
		return todoSeek, &j
	case j.final && a.mayBeOver:
		return todoFinal, &j
	case a.lingering:
		return todoNode, &j
	case j.lossWait:
		return todoWait, &j
	}
	if of, _ := e.toAsk(a); of != nil {
		return todoAsk, &j
	}
	return todoNothing, nil
}

// tend does what one attempt needs until nothing is left to do. There is at most one of it per attempt.
func (e *Executor) tend(ctx context.Context, a *attempt) {
	for failures := 0; ; {
		e.mu.Lock()
		next, j := e.next(a)
		if next == todoNothing || ctx.Err() != nil {
			a.tending = false
			e.mu.Unlock()
			return
		}
		var until time.Time
		switch next {
		case todoWait:
			until = e.lossEnds(a)
		case todoSeek:
			until = a.missing.Add(e.cfg.LostAfter)
		case todoFinal:
			if !a.deadSince.IsZero() {
				until = a.deadSince.Add(deadAgain)
			}
		case todoBar:
			until = a.barring.next
		case todoAsk:
			_, until = e.toAsk(a)
		}
		e.mu.Unlock()
		if rest := time.Until(until); rest > 0 {
			a.await(ctx, rest)
			continue
		}
		err := e.do(ctx, a, next, j)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() == nil:
			failures++
			e.log.Warn("trouble with Nomad; trying again", "job", a.jobID, "to", next, "failures", failures, "error", err)
			a.await(ctx, pace.Delay(failures))
		}
	}
}

// await pauses until d is over or the attempt changes.
func (a *attempt) await(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-a.changed:
	}
}

// do carries out one thing.
func (e *Executor) do(ctx context.Context, a *attempt, what todo, j *judgement) error {
	switch what {
	case todoStop:
		return e.settleStop(ctx, a, j)
	case todoJob:
		return e.readJob(ctx, a)
	case todoLook:
		return e.lookAt(ctx, a)
	case todoClear:
		if err := e.lookAt(ctx, a); err != nil {
			return err
		}
		a.await(ctx, unclearLook)
	case todoSeek:
		return e.seek(ctx, a)
	case todoHeld:
		return e.askWhyHeld(ctx, a)
	case todoFinal:
		return e.askWhetherOver(ctx, a)
	case todoNode:
		return e.askForNodes(ctx, a)
	case todoBar:
		return e.goOnBarring(ctx, a)
	case todoAsk:
		return e.ask(ctx, a)
	case todoOutput:
		o := e.collect(ctx, a, j.alloc, *j.outcome)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.finish(a, o, j.alloc)
	}
	return nil
}

// settleStop stops the job, unless that was done, and learns everything that was placed before.
func (e *Executor) settleStop(ctx context.Context, a *attempt, j *judgement) error {
	e.mu.Lock()
	eval := a.stopEval
	e.mu.Unlock()
	if eval == "" {
		return e.stop(ctx, a, j.cause) // and come back: stop notes the evaluation
	}
	if eval != noEval {
		if err := e.waitEval(ctx, a.realm, eval); err != nil {
			return err
		}
	}
	if err := e.lookAt(ctx, a); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.stopEval != eval { // Nomad was restored meanwhile, and may have forgotten it
		return nil
	}
	if eval == noEval {
		// Nomad has neither the job nor, then, any allocation of it.
		clear(a.allocs)
	}
	a.settledJob, a.settledAt = true, time.Now()
	return nil
}

func (e *Executor) readJob(ctx context.Context, a *attempt) error {
	job, err := e.find(ctx, a)
	gone := answered(err) == http.StatusNotFound
	if err != nil && !gone {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.job = jobRuns
	if gone || deref(job.Stop) {
		a.job = jobStopped
	}
	return nil
}
