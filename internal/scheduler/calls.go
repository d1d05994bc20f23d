// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Caller makes the calls of http tasks.
type Caller interface {
	// Call makes one call, within its own limits, and says how it ended. key is sent with it, so that whoever is called can
	// tell a repetition. When ctx ends before it is answered, it is OutcomeKilled.
	Call(ctx context.Context, body workflow.HTTPBody, key string) engine.Outcome
}

// calls makes the calls of http attempts, each by a goroutine of its own; how many there are at once is the admission's
// business. A call has no place to be looked up again: this process knows how it went, until its verdict is saved, and
// nobody else ever does.
type calls struct {
	t *term

	mu   sync.Mutex // guards everything below
	open map[workflow.AttemptID]*call
}

type call struct {
	cancel  context.CancelFunc
	outcome *engine.Outcome // nil while the call is under way
}

func newCalls(t *term) *calls { return &calls{t: t, open: map[workflow.AttemptID]*call{}} }

// carryOut takes a command about an http attempt. It never waits.
func (cs *calls) carryOut(parent *run, c engine.Command) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	there := cs.open[c.Attempt]
	switch {
	case c.Kind == engine.Settle:
		if there != nil {
			there.cancel()
			delete(cs.open, c.Attempt)
		}
	case there != nil && there.outcome != nil:
		// The run was loaded anew and may not know.
		outcome := *there.outcome
		cs.t.group.Go(func() { parent.send(cs.t.ctx, ended(c.Attempt, outcome)) })
	case there != nil:
		if c.Kind == engine.KillAttempt {
			there.cancel()
		}
	default:
		ctx, cancel := context.WithCancel(cs.t.ctx)
		there = &call{cancel: cancel}
		cs.open[c.Attempt] = there
		if c.Kind == engine.KillAttempt {
			cancel()
		}
		cs.t.group.Go(func() { cs.make(ctx, parent, there, *c.Start) })
	}
}

func ended(attempt workflow.AttemptID, o engine.Outcome) message {
	return message{event: engine.Event{Kind: engine.Ended, Attempt: attempt, Outcome: &o}}
}

// make makes one call, unless ctx has ended already, and tells how it went.
func (cs *calls) make(ctx context.Context, parent *run, c *call, s engine.Start) {
	defer c.cancel()
	if cs.t.awaitTrust() != nil {
		return
	}
	outcome := engine.Outcome{Kind: engine.OutcomeKilled}
	if ctx.Err() == nil {
		outcome = cs.judge(ctx, parent, s)
	}
	if cs.t.ctx.Err() != nil {
		return // whether the call was made is for the next leader to judge
	}
	cs.mu.Lock()
	c.outcome = &outcome
	cs.mu.Unlock()
	parent.send(cs.t.ctx, ended(s.Attempt, outcome))
}

// judge makes the call, or says why it must not be made.
func (cs *calls) judge(ctx context.Context, parent *run, s engine.Start) engine.Outcome {
	cfg := &cs.t.s.cfg
	var body workflow.HTTPBody
	switch {
	case cfg.Caller == nil:
		return engine.Outcome{Kind: engine.OutcomeInvalid, Message: "this Cairn makes no calls"}
	case s.Body == nil:
		return engine.Outcome{Kind: engine.OutcomeInvalid,
			Message: "the call cannot be evaluated to the same any more as when it was recorded; whether it was made is unknown"}
	}
	if err := json.Unmarshal(s.Body, &body); err != nil {
		return engine.Outcome{Kind: engine.OutcomeInvalid, Message: fmt.Sprintf("the call cannot be read: %s", err)}
	}
	if s.Epoch != cs.t.epoch && !body.Repeatable() {
		// The leader before may have sent it: only its answer is lost, or all of it.
		return engine.Outcome{Kind: engine.OutcomeFailed, Message: fmt.Sprintf(
			"outcome unknown: the process that made the call ended before the answer was stored, and %s is not repeated: write idempotent = true if it may be",
			body.Method)}
	}
	parent.send(ctx, message{event: engine.Event{Kind: engine.Started, Attempt: s.Attempt, StartedAt: cs.t.clock.now()}})
	cfg.fault(FaultBeforeStart)
	outcome := cfg.Caller.Call(ctx, body, string(s.Attempt))
	cfg.fault(FaultAfterStart)
	return outcome
}
