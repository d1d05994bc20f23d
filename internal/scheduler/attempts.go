// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Five troubles in a row in one namespace close its admission (nomad.md, "Registering").
const breakerTroubles = 5

// aim is what is to be done about an attempt. It only ever grows: a kill replaces the start that has not happened yet, and
// once the verdict is saved nothing is started or killed any more.
type aim int

const (
	aimStart aim = iota
	aimKill
	aimSettle
)

// attempts carries out commands, each attempt by a goroutine of its own that ends when nothing is left to do. A failed call
// is repeated with backoff until it succeeds or its aim has changed.
type attempts struct {
	t     *term
	calls chan struct{} // a place for every call under way

	mu       sync.Mutex                     // guards everything below, actions included
	actions  map[workflow.AttemptID]*action // attempts something is to be done about
	breakers map[string]*breaker            // by namespace
}

type action struct {
	attempt  workflow.AttemptID
	aim      aim
	start    engine.Start
	version  int                // counts the changes of aim and start
	changed  chan struct{}      // full when they have changed
	cancel   context.CancelFunc // of the call under way, if any
	troubled bool               // its last call was a trouble
	notice   string             // what the trouble was, for people
}

// breaker counts the troubles of one namespace. It is open, and its admission closed, while calls keep failing; the
// repetitions of those that failed are the probes that close it.
type breaker struct {
	row      int // troubles since the last success
	troubled int // actions whose last call failed
	open     bool
}

func newAttempts(t *term, maxCalls int) *attempts {
	return &attempts{
		t: t, calls: make(chan struct{}, maxCalls),
		actions: map[workflow.AttemptID]*action{}, breakers: map[string]*breaker{},
	}
}

// carryOut takes a StartAttempt, KillAttempt or Settle. It never waits.
func (as *attempts) carryOut(c engine.Command) {
	to := aimStart
	switch c.Kind {
	case engine.KillAttempt:
		to = aimKill
	case engine.Settle:
		to = aimSettle
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.actions[c.Attempt]
	if a == nil {
		a = &action{attempt: c.Attempt, aim: to, changed: make(chan struct{}, 1)}
		if c.Start != nil {
			a.start = *c.Start
		}
		as.actions[c.Attempt] = a
		as.t.group.Go(func() { as.pursue(a) })
		return
	}
	if to < a.aim {
		return
	}
	if c.Start != nil {
		a.start = *c.Start
	}
	a.version++
	if to > a.aim {
		a.aim = to
		if a.cancel != nil {
			a.cancel() // a start must not hold up the kill that replaces it
		}
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// pursue calls the executor until the aim is reached or the term is over.
func (as *attempts) pursue(a *action) {
	defer as.quit(a)
	for failures := 0; ; {
		if as.t.awaitTrust() != nil {
			return
		}
		to, version, err := as.call(a)
		if as.t.ctx.Err() != nil {
			return
		}
		if err == nil || failures+1 >= breakerTroubles {
			as.t.reconcile.asked(a.attempt)
		}
		switch as.judge(a, to, version, err) {
		case reached:
			return
		case overtaken:
			failures = 0
		case troubled:
			failures++
			if !as.await(a, to, failures, err) {
				return
			}
		}
	}
}

// call makes one call for the aim of the moment, and returns that aim and the version it was for.
func (as *attempts) call(a *action) (to aim, version int, err error) {
	select {
	case as.calls <- struct{}{}:
		defer func() { <-as.calls }()
	case <-as.t.ctx.Done():
		return aimStart, 0, as.t.ctx.Err()
	}
	ctx, cancel := context.WithCancel(as.t.ctx)
	defer cancel()
	as.mu.Lock()
	to, version = a.aim, a.version
	start := a.start
	a.cancel = cancel
	as.mu.Unlock()
	cfg := &as.t.s.cfg
	switch to {
	case aimStart:
		cfg.fault(FaultBeforeStart)
		err = cfg.Executor.Start(ctx, start)
		cfg.fault(FaultAfterStart)
	case aimKill:
		cfg.fault(FaultBeforeKill)
		err = cfg.Executor.Kill(ctx, start)
		cfg.fault(FaultAfterKill)
	case aimSettle:
		cfg.fault(FaultBeforeSettle)
		cfg.Executor.Settle(ctx, a.attempt)
		cfg.fault(FaultAfterSettle)
	}
	return to, version, err
}

type result int

const (
	reached   result = iota // nothing is left to do; the action is removed
	overtaken               // the aim has changed during the call
	troubled                // the call failed
)

func (as *attempts) judge(a *action, to aim, version int, err error) result {
	as.mu.Lock()
	defer as.mu.Unlock()
	a.cancel = nil
	if err == nil && to != aimSettle {
		as.succeeded(a)
	}
	switch {
	case a.aim != to:
		return overtaken // the error, if any, is that of a call we cut short, or does not matter any more
	case err != nil:
		as.failed(a, err)
		return troubled
	case a.version != version && to != aimSettle:
		return overtaken
	}
	delete(as.actions, a.attempt)
	return reached
}

// await tells of a trouble and pauses until the call is due again or the aim has changed. It is false when the term is over.
func (as *attempts) await(a *action, to aim, failures int, err error) bool {
	as.t.s.log.Warn("the executor is in trouble; trying again", "attempt", a.attempt, "kill", to == aimKill, "failures", failures, "error", err)
	as.t.touch(a.attempt)
	var trouble *Trouble
	if to == aimStart && errors.As(err, &trouble) && trouble.NotStarted {
		as.t.report(engine.Event{Kind: engine.Refused, Attempt: a.attempt, Message: err.Error()})
	}
	pause := time.NewTimer(as.t.s.cfg.Backoff.Delay(failures))
	defer pause.Stop()
	for {
		select {
		case <-as.t.ctx.Done():
			return false
		case <-pause.C:
			return true
		case <-a.changed:
			as.mu.Lock()
			overtaken := a.aim != to
			as.mu.Unlock()
			if overtaken {
				return true
			}
		}
	}
}

// succeeded notes a call that went well. The caller holds mu.
func (as *attempts) succeeded(a *action) {
	b := as.breakers[a.start.Namespace]
	if b == nil {
		return
	}
	b.row = 0
	if a.troubled {
		a.troubled = false
		b.troubled--
	}
	as.closeBreaker(a.start.Namespace, b)
}

// failed notes a trouble. The caller holds mu.
func (as *attempts) failed(a *action, err error) {
	b := as.breakers[a.start.Namespace]
	if b == nil {
		b = &breaker{}
		as.breakers[a.start.Namespace] = b
	}
	b.row++
	if !a.troubled {
		a.troubled = true
		b.troubled++
	}
	a.notice = err.Error()
	if b.row >= breakerTroubles && !b.open {
		b.open = true
		as.t.s.log.Warn("the executor keeps failing; nothing new is admitted", "namespace", a.start.Namespace, "error", err)
		as.t.admission.setClosed(a.start.Namespace, true)
	}
}

// notice says what the trouble with the attempts of a run is, for people; empty when there is none.
func (as *attempts) notice(id workflow.RunID) string {
	as.mu.Lock()
	defer as.mu.Unlock()
	first := workflow.AttemptID("")
	for attempt, a := range as.actions {
		if a.troubled && strings.HasPrefix(string(attempt), string(id)) && (first == "" || attempt < first) {
			first = attempt
		}
	}
	if first == "" {
		return ""
	}
	if a := as.actions[first]; a.aim == aimKill {
		return fmt.Sprintf("task %s cannot be stopped yet: %s", a.start.Task, a.notice)
	}
	return fmt.Sprintf("task %s cannot be started yet: %s", as.actions[first].start.Task, as.actions[first].notice)
}

// quit takes an action off that has ended in whatever way. When it was the last one in trouble nobody is left to probe, so
// the breaker closes.
func (as *attempts) quit(a *action) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if b := as.breakers[a.start.Namespace]; b != nil && a.troubled {
		a.troubled = false
		if b.troubled--; b.troubled == 0 {
			as.closeBreaker(a.start.Namespace, b)
		}
	}
}

func (as *attempts) closeBreaker(namespace string, b *breaker) {
	if b.open {
		as.t.s.log.Info("the executor works again", "namespace", namespace)
		as.t.admission.setClosed(namespace, false)
	}
	b.row, b.open = 0, false
	if b.troubled == 0 {
		delete(as.breakers, namespace)
	}
}
