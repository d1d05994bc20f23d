// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package scheduler is the shell around the pure core. It leads or stands by, feeds every active run its events, saves what
// changed, and only then carries out what the core decided. It owns the ports that stores, executors and electors implement.
//
//	          acquire                 load                        renewal refused, or fenced
//	standby ──────────▶ taking over ──────▶ driving, one goroutine ─────────────▶ over
//	                                        per active run  ctx ends, StepDown ─▶ released
//
// What a run decides goes where its body belongs: to the executor (attempts), to a child run (children), to somebody on the
// net (calls). Before any of that a run may have to wait for other runs of its workflow (gates), and its attempts for a place
// (admission). Runs that are over stay in the store for a while, and then leave it for an archive (housekeeping).
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Scheduler drives runs while it leads, and reads them always.
type Scheduler struct {
	cfg   Config
	log   hclog.Logger
	loads *batches[*dormant]  // by run
	lists *batches[[]Summary] // by filter

	mu       sync.Mutex // guards everything below
	term     *term      // nil while somebody else leads
	changed  chan struct{}
	machines map[string]*compiled // by definition hash, see machine
	recent   []string             // hashes in machines, oldest first
	overdue  string               // why runs that are over cannot leave the store, for people
}

// New returns a scheduler that does nothing before Run.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Scheduler{
		cfg: cfg, log: cfg.Logger.Named("scheduler"), changed: make(chan struct{}), machines: map[string]*compiled{},
		loads: newBatches[*dormant](), lists: newBatches[[]Summary](),
	}, nil
}

// Run acquires leadership, loads every active run and drives them until ctx ends, which gives nil, leadership is lost, which
// gives ErrFenced, or StepDown gives it up, which gives *SteppedDownError. It leaves running attempts alone and waits for every
// goroutine it started. It may be called again after it has returned.
func (s *Scheduler) Run(ctx context.Context) error {
	l, err := s.cfg.Elector.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("acquire leadership: %w", err)
	}
	s.log.Info("leading", "epoch", l.Epoch)
	t := newTerm(ctx, s, l)
	s.setTerm(t)
	if t.recovers {
		t.admission.await(unknown)
		if d, ok := s.cfg.Executor.(Doubter); ok {
			d.Doubt()
		}
	}
	t.group.Go(t.reconciles)
	t.group.Go(t.renew)
	t.group.Go(t.watch)
	t.group.Go(t.takeOver)
	if s.cfg.Housekeeping != nil {
		t.group.Go(t.keepHouse)
	}
	<-t.ctx.Done()
	s.setTerm(nil)
	t.wait()
	err = s.endTerm(ctx, t)
	close(t.over)
	return err
}

// endTerm releases the leadership of a term that has ended by itself, and says how it ended.
func (s *Scheduler) endTerm(ctx context.Context, t *term) error {
	cause := context.Cause(t.ctx)
	var stepped *SteppedDownError
	given := errors.As(cause, &stepped)
	if lost := ctx.Err() == nil && !given || errors.Is(cause, ErrFenced); lost {
		s.log.Warn("leadership is over", "epoch", t.epoch, "error", cause)
		t.released = cause
		return fmt.Errorf("leadership of epoch %d is over: %w", t.epoch, cause)
	}
	// The caller's context may have ended: releasing gets its own time.
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	t.released = s.cfg.Elector.Release(release, t.leadership())
	if t.released != nil {
		s.log.Warn("the leadership was not released; it ends by itself", "epoch", t.epoch, "error", t.released)
	} else {
		s.log.Info("leadership released", "epoch", t.epoch)
	}
	switch {
	case given && ctx.Err() == nil:
		return stepped
	case t.released != nil:
		return fmt.Errorf("release leadership of epoch %d: %w", t.epoch, t.released)
	}
	return nil
}

// StepDown gives the leadership up and returns, with its epoch, when it is free. ErrFenced: this process does not lead (any
// more). Whoever calls Run decides when it may lead again.
func (s *Scheduler) StepDown(ctx context.Context) (uint64, error) {
	t, _ := s.current()
	if t == nil {
		return 0, fmt.Errorf("step down: %w", ErrFenced)
	}
	t.cancel(&SteppedDownError{Epoch: t.epoch})
	select {
	case <-t.over:
	case <-ctx.Done():
		return t.epoch, fmt.Errorf("step down: the leadership of epoch %d is not free yet: %w", t.epoch, ctx.Err())
	}
	if t.released != nil {
		return t.epoch, fmt.Errorf("step down: %w", t.released)
	}
	return t.epoch, nil
}

// Epoch is that of the leadership of this process; 0 while it does not lead.
func (s *Scheduler) Epoch() uint64 {
	t, _ := s.current()
	if t == nil {
		return 0
	}
	return t.epoch
}

func (s *Scheduler) setTerm(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = t
	s.overdue = ""
	close(s.changed)
	s.changed = make(chan struct{})
}

// current returns the term and a channel that is closed when it changes.
func (s *Scheduler) current() (*term, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term, s.changed
}

// leading waits until this process leads and knows all active runs.
func (s *Scheduler) leading(ctx context.Context) (*term, error) {
	for {
		t, again := s.current()
		if t != nil {
			select {
			case <-t.ready:
				if t.ctx.Err() == nil {
					return t, nil
				}
			default:
				again = t.ready
			}
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, fmt.Errorf("no leader yet: %w", ctx.Err())
		}
	}
}

// Leading reports whether this process leads at the moment, and may trust in that.
func (s *Scheduler) Leading() bool {
	t, _ := s.current()
	if t == nil {
		return false
	}
	until := t.leadership().TrustedUntil
	return until.IsZero() || time.Now().Before(until)
}

// Leader says who leads, for people; empty when nobody does.
func (s *Scheduler) Leader(ctx context.Context) (string, error) {
	return s.cfg.Elector.Leader(ctx)
}

// Machines are kept for as many definitions: what an active cluster runs at a time. One that is dropped is made again.
const keptMachines = 64

// compiled is a definition that is in use.
type compiled struct {
	machine *engine.Machine
	bytes   []byte // of the definition; nil when it was never encoded here
}

func (s *Scheduler) atHand(hash string) compiled {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.machines[hash]; c != nil {
		return *c
	}
	return compiled{}
}

// machine returns the machine of a stored definition, making it when it is not at hand.
func (s *Scheduler) machine(d Definition) (*engine.Machine, error) {
	if c := s.atHand(d.Hash); c.machine != nil {
		return c.machine, nil
	}
	def, err := workflow.DecodeDefinition(d.Bytes)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", d.Hash, err)
	}
	return s.newMachine(def)
}

func (s *Scheduler) newMachine(def *workflow.Definition) (*engine.Machine, error) {
	eval, err := s.cfg.Evaluators(def)
	if err != nil {
		return nil, fmt.Errorf("evaluator of definition %s: %w", def.Hash, err)
	}
	m, err := engine.New(def, eval)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", def.Hash, err)
	}
	s.keep(def.Hash, compiled{machine: m})
	return m, nil
}

// childMachine returns the machine of a child run's definition, and the definition's encoded form: both are made once for
// all children that have it.
func (s *Scheduler) childMachine(c ChildRun) (*engine.Machine, []byte, error) {
	def := c.Definition
	there := s.atHand(def.Hash)
	if there.machine == nil {
		m, err := engine.New(def, c.Evaluator)
		if err != nil {
			return nil, nil, fmt.Errorf("definition %s: %w", def.Hash, err)
		}
		there.machine = m
	}
	if there.bytes == nil {
		encoded, err := workflow.EncodeDefinition(def)
		if err != nil {
			return nil, nil, fmt.Errorf("definition %s: %w", def.Hash, err)
		}
		there.bytes = encoded
		s.keep(def.Hash, there)
	}
	return there.machine, there.bytes, nil
}

// keep has a machine at hand.
func (s *Scheduler) keep(hash string, c compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machines[hash] == nil {
		if len(s.recent) == keptMachines {
			delete(s.machines, s.recent[0])
			s.recent = s.recent[1:]
		}
		s.recent = append(s.recent, hash)
	}
	s.machines[hash] = &c
}
