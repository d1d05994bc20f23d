// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// byCairn is who used a verb that nobody asked for by name.
const byCairn = "cairn"

// Verb uses a verb on a run and returns when its effect is saved. One whose effect is there already changes nothing. Whether
// it fits is decided together with its effect, whatever else happens to the run: *engine.Misfit if it does not. A verb that
// makes work on a run that is over has it driven again. ErrNotFound: no such run. Verb waits, as long as ctx lasts, until
// this process leads.
func (s *Scheduler) Verb(ctx context.Context, id workflow.RunID, verb engine.Event) error {
	for {
		t, err := s.leading(ctx)
		if err != nil {
			return fmt.Errorf("%s run %s: %w", verb.Kind, id, err)
		}
		_, err = t.verb(ctx, id, message{event: verb})
		if !errors.Is(err, errTermOver) {
			return err
		}
	}
}

// errTermOver: this leadership is over; another one may do.
var errTermOver = errors.New("the leadership is over")

// verb hands a verb to the owner of a run and waits until it is saved. A run that nobody drives gets an owner if the verb
// changes it. It returns the owner, if there was one.
func (t *term) verb(ctx context.Context, id workflow.RunID, m message) (*run, error) {
	for {
		if t.ctx.Err() != nil {
			return nil, errTermOver
		}
		reply := make(chan error, 1)
		m.reply = reply
		r := t.run(id)
		if r == nil {
			if due, err := t.dormant(ctx, id, m); !due {
				return nil, err
			}
			awakened := newRun(t, id)
			awakened.mail <- m // it has room, and is read before anything else
			if r = t.start(awakened); r == awakened {
				if err, left := awaitReply(ctx, r, reply); !left {
					return r, t.explain(err, ctx, id, m)
				}
				continue
			}
		}
		if !r.send(ctx, m) {
			if ctx.Err() != nil {
				return nil, t.explain(ctx.Err(), ctx, id, m)
			}
			continue // it has just left
		}
		if err, left := awaitReply(ctx, r, reply); !left {
			return r, t.explain(err, ctx, id, m)
		}
	}
}

// awaitReply waits for the answer of a run's owner; left says that it went away before it had read the message.
func awaitReply(ctx context.Context, r *run, reply <-chan error) (err error, left bool) {
	select {
	case err := <-reply:
		return err, false
	case <-ctx.Done():
		return ctx.Err(), false
	case <-r.over:
		select {
		case err := <-reply:
			return err, false
		default:
			return nil, true
		}
	}
}

// explain says what was being done, where an error does not say so itself.
func (t *term) explain(err error, ctx context.Context, id workflow.RunID, m message) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%s run %s: %w", m.event.Kind, id, err)
	}
	return err
}

// dormant reports whether a verb would change a run that nobody drives.
func (t *term) dormant(ctx context.Context, id workflow.RunID, m message) (due bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.CallTimeout)
	defer cancel()
	machine, state, err := t.s.load(ctx, id)
	if err != nil {
		return false, err
	}
	return t.fits(machine, state, m)
}

// fits reports whether a verb would change the run, or says why it does not fit.
func (t *term) fits(machine *engine.Machine, state *engine.State, m message) (due bool, err error) {
	in := &state.Input
	if parent, active := t.parentOf(in); active && !m.cascaded {
		switch m.event.Kind {
		case engine.Stop, engine.Terminate, engine.Approve, engine.Reject, engine.WorkerLost:
		default:
			return false, &engine.Misfit{Text: fmt.Sprintf(
				"run %s was started by run %s, which is not over: until then it takes only stop, terminate, approve and reject; what is used on run %s reaches this one too",
				in.Run, parent, parent)}
		}
	}
	return machine.Fits(state, m.event)
}

// parentOf is the run that started a child run, and whether it is still going.
func (t *term) parentOf(in *engine.Input) (id workflow.RunID, active bool) {
	if in.Parent == "" {
		return "", false
	}
	id, _, _, _, err := in.Parent.Parse()
	return id, err == nil && t.run(id) != nil
}

// insist uses a verb on a run until that is saved, does not fit any more, or the run is gone.
func (t *term) insist(id workflow.RunID, e engine.Event) {
	for failures := 1; ; failures++ {
		_, err := t.verb(t.ctx, id, message{event: e, cascaded: true})
		var misfit *engine.Misfit
		if err == nil || errors.As(err, &misfit) || errors.Is(err, ErrNotFound) || t.ctx.Err() != nil {
			return
		}
		t.s.log.Warn("a verb could not be used; trying again", "verb", e.Kind, "run", id, "failures", failures, "error", err)
		if t.s.cfg.Backoff.Wait(t.ctx, failures) != nil {
			return
		}
	}
}
