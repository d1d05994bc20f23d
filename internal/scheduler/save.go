// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// So many observations are kept until a save makes them durable: then the mailbox fills, and executors wait.
const maxUnsaved = 4 * maxBatch

// errNotLoaded: the state is not in memory at the moment; the store has it.
var errNotLoaded = errors.New("the run's state is being loaded")

// save makes what was stepped durable, in one write, and answers those who wait for that.
func (r *run) save(ctx context.Context) error {
	records, err := r.machine.EncodeDirty(r.state)
	if err != nil {
		return fmt.Errorf("encode run %s: %w", r.id, err)
	}
	done := r.state.Head.Status.Terminal()
	if len(records) > 0 || done && !r.sought { // who only looked has nothing to say
		cfg := &r.t.s.cfg
		cfg.fault(FaultBeforeSave)
		ctx, cancel := context.WithTimeout(ctx, cfg.CallTimeout)
		began := time.Now()
		err := cfg.Store.Save(ctx, r.t.epoch, r.id, records, done)
		cancel()
		if cfg.Saved != nil {
			cfg.Saved(time.Since(began), err)
		}
		if err != nil {
			return err // says itself what was being done
		}
		r.t.wrote.Store(true)
		if done {
			r.t.ended.Add(1)
		}
		cfg.fault(FaultAfterSave)
	}
	r.publish()
	r.tell(true)
	clear(r.unsaved)
	r.unsaved = r.unsaved[:0]
	r.must, r.lingers = false, time.Time{}
	if r.failures > 0 && len(records) > 0 {
		r.t.s.log.Info("state saved again", "run", r.id, "failures", r.failures)
		r.failures = 0
		r.setNotice("")
	}
	r.answer(nil)
	return nil
}

func (r *run) answer(err error) {
	for _, reply := range r.replies {
		reply <- err
	}
	r.replies = nil
}

// recover goes on after a save whose outcome is not ours or not known: the state is thrown away and loaded again. It is
// false when the run is no longer ours.
func (r *run) recover(err error) bool {
	r.answer(fmt.Errorf("%w: %w", ErrUnknown, err))
	if errors.Is(err, ErrFenced) {
		r.t.lost(err)
		return false
	}
	if r.t.ctx.Err() != nil {
		return false
	}
	r.t.admission.leave(r.member)
	r.machine, r.state, r.member = nil, nil, nil
	r.acts, r.must, r.proceed, r.wake, r.lingers = nil, false, false, 0, time.Time{}
	return r.trouble("the run's state cannot be saved", err) && r.load()
}

// load reads the state and takes up what is outstanding. It repeats until it succeeds; it is false when the run is gone or
// the term is over.
func (r *run) load() bool {
	for {
		err := r.tryLoad()
		if r.awaited {
			r.awaited = false
			r.t.reconcile.arrive()
			r.t.admission.arrive(r.places)
		}
		if err != nil {
			r.t.gates.pass(r.id)
		}
		switch {
		case err == nil:
			return true
		case r.t.ctx.Err() != nil:
			return false
		case errors.Is(err, ErrNotFound):
			if !r.sought {
				r.t.s.log.Warn("the run is gone from the store", "run", r.id)
			}
			return false
		}
		if !r.trouble("the run's state cannot be loaded", err) {
			return false
		}
	}
}

func (r *run) tryLoad() error {
	m, s, release, err := r.read()
	if err != nil {
		return err
	}
	defer release()
	select {
	case <-r.known:
	default:
		close(r.known)
	}
	r.machine, r.state, r.fast = m, s, max(r.fast, aheadOf(r.t.clock.now(), s.Head.LastAt))
	r.join()
	if status := s.Head.Status; status != workflow.RunQueued && !status.Terminal() {
		r.t.gates.hold(r)
	}
	r.publish()
	r.tell(r.news.known) // it was loaded before: what a save left open is known now
	outstanding := m.Outstanding(s)
	for _, c := range outstanding { // before the first want asks for a place
		starts := c.Kind == engine.StartAttempt || c.Kind == engine.KillAttempt
		if starts && r.bodyOf(c.Attempt) != workflow.BodyRunWorkflow { // a parent must not hold what its child waits for
			r.t.admission.hold(r.member, c.Attempt)
		}
		if starts && r.awaited && r.bodyOf(c.Attempt).Cluster() {
			r.t.reconcile.ask(c.Attempt)
		}
	}
	for _, c := range outstanding {
		r.heed(c)
	}
	// What is outstanding was saved already: the next save may well be empty, and acts.
	r.must = true
	// Observations that a failed save took with it come again.
	for _, e := range r.unsaved {
		r.queue = append(r.queue, message{event: e})
	}
	clear(r.unsaved)
	r.unsaved = r.unsaved[:0]
	return nil
}

// read takes what was loaded for it with others, or loads. Only so many runs do so at once: release makes way for another one.
func (r *run) read() (_ *engine.Machine, _ *engine.State, release func(), err error) {
	if ahead := r.ahead; ahead != nil {
		r.ahead = nil
		select {
		case l, ok := <-ahead:
			if ok {
				m, s, err := r.t.s.decode(r.id, l.Loaded)
				if err != nil {
					close(l.taken)
				}
				return m, s, func() { close(l.taken) }, err
			}
		case <-r.t.ctx.Done():
			return nil, nil, nil, r.t.ctx.Err()
		}
	}
	select {
	case r.t.loads <- struct{}{}:
	case <-r.t.ctx.Done():
		return nil, nil, nil, r.t.ctx.Err()
	}
	release = func() { <-r.t.loads }
	ctx, cancel := context.WithTimeout(r.t.ctx, r.t.s.cfg.CallTimeout)
	defer cancel()
	m, s, err := r.t.s.load(ctx, r.id)
	if err != nil {
		release()
	}
	return m, s, release, err
}

// join takes a place in the admission for a state just loaded or made.
func (r *run) join() {
	def := r.machine.Definition()
	r.member = r.t.admission.join(def.Priority, def.Namespace, r.nudge)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index = max(r.index, changeIndex(r.state.Head.LastAt))
}

// trouble logs and shows why the run does not get on, and pauses. Meanwhile observations are kept, views are sent to the
// store, and verbs are refused. It is false when the term is over.
func (r *run) trouble(what string, err error) bool {
	r.failures++
	r.t.s.log.Error(what+"; trying again", "run", r.id, "failures", r.failures, "error", err)
	notice := fmt.Errorf("%s: %w", what, err)
	r.setNotice(notice.Error())
	pause := time.NewTimer(r.t.s.cfg.Backoff.Delay(r.failures))
	defer pause.Stop()
	for {
		mail := r.mail
		if len(r.unsaved) >= maxUnsaved {
			mail = nil
		}
		select {
		case <-pause.C:
			return true
		case <-r.t.ctx.Done():
			return false
		case m := <-mail:
			if m.reply != nil {
				m.reply <- notice
			} else {
				r.unsaved = append(r.unsaved, m.event)
			}
		case v := <-r.views:
			r.serve(v)
		}
	}
}

func (r *run) setNotice(s string) {
	r.mu.Lock()
	r.notice = s
	r.mu.Unlock()
	r.bump()
}

// flush saves what lingers, at a graceful end. A failure does no harm: executors repeat it.
func (r *run) flush() {
	if r.lingers.IsZero() || errors.Is(context.Cause(r.t.ctx), ErrFenced) {
		return
	}
	if err := r.save(context.WithoutCancel(r.t.ctx)); err != nil {
		r.t.s.log.Debug("the last news were not saved; they will come again", "run", r.id, "error", err)
	}
}

func (r *run) leave() {
	r.t.forget(r)
	if r.member != nil {
		r.t.admission.leave(r.member)
	}
	r.t.gates.leave(r.id)
	close(r.over)
	r.mu.Lock()
	close(r.stood) // whoever waits for a change has waited long enough
	r.stood = make(chan struct{})
	r.mu.Unlock()
	r.answer(fmt.Errorf("%w: the run was left before", ErrUnknown))
	r.bump()
}
