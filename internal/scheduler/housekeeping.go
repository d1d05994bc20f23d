// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Archive takes runs over before they leave the store.
type Archive interface {
	// Put writes all of a run that is over, durably, and reads it back before it returns nil. Putting a run again is fine;
	// what it was put with last counts. Put returns when ctx ends, whatever hangs.
	Put(ctx context.Context, m *engine.Machine, s *engine.State) error
}

// Housekept is what housekeeping needs of a store beside Store.
type Housekept interface {
	// Index tells of every stored run as of one moment. It reads no runs.
	Index(ctx context.Context) ([]Stored, error)
	// Sweep deletes definitions that no stored run names, and none of those that named returns, and what is left of runs
	// whose create was cut off. What names a definition while Sweep looks is waited for, or waits. An error of named, or
	// a run that cannot be read, keeps all of them. Sweep does a bounded amount of work; more says that there may be some
	// left. It returns ErrFenced if a newer epoch has written.
	Sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (swept int, more bool, err error)
}

// Namer knows definitions by name that must stay, whether or not a run has them.
type Namer interface {
	// Named returns their hashes. What it did not return may be deleted: an error is better than a part.
	Named(ctx context.Context) ([]string, error)
}

// Housekeeping is how runs that are over leave the store. Store, Archive and Retention have no default.
type Housekeeping struct {
	Store     Housekept // of the same runs as Config.Store
	Archive   Archive
	Retention Retention
	Namers    []Namer // whoever names definitions beside the runs

	// Every is the pause between two looks at the index. It is left out while nothing has changed.
	Every time.Duration
	// SweepEvery is the pause between two sweeps. A new leader waits as long for its first one, but firstSweep at most.
	SweepEvery time.Duration
}

// DefaultHousekeeping returns the defaults of everything that has one.
func DefaultHousekeeping() Housekeeping {
	return Housekeeping{Every: time.Minute, SweepEvery: 24 * time.Hour}
}

func (h *Housekeeping) validate() error {
	if h.Store == nil || h.Archive == nil {
		return errors.New("housekeeping needs a store and an archive")
	}
	if h.Every <= 0 || h.SweepEvery <= 0 {
		return fmt.Errorf("housekeeping every %s and sweeps every %s: both must be positive", h.Every, h.SweepEvery)
	}
	return h.Retention.Validate()
}

const (
	// firstSweep bounds how long a new leader waits for its first sweep, where leaders change more often than that.
	firstSweep = time.Hour
	// leaveTimeout bounds how long one run may take to be archived, and as long again to be deleted: one of 100,000 instances
	// takes seconds.
	leaveTimeout = time.Minute
	// restFactor: housekeeping rests so many times as long as it has worked, so that it has a fifth of the store's writes at
	// most, however fast it could go.
	restFactor = 4
	// maxRest bounds a single rest.
	maxRest = 10 * time.Second
	// maxFailures in a row end a round: then it is not the run, it is the archive.
	maxFailures = 3
)

// housekeeper lets runs leave the store for the archive, as long as its term lasts.
//
//	driven ─▶ over ─▶ due ─▶ claimed ─▶ archived, read back ─▶ deleted
//	  ▲                └──────── ◀── whatever fails ──┴────────────┘
//	  └── a verb makes it active again: not while it is claimed
type housekeeper struct {
	t   *term
	cfg *Housekeeping

	ended  int64                   // runs that had ended in this term at the last look
	looked bool                    // the last look is done with
	next   workflow.Time           // when a run that stayed is past its age; 0 = none
	poor   map[workflow.RunID]bool // runs that could not leave the last time: the others come first
}

// keepHouse keeps house until the term ends.
func (t *term) keepHouse() {
	h := &housekeeper{t: t, cfg: t.s.cfg.Housekeeping, poor: map[workflow.RunID]bool{}}
	select {
	case <-t.ready:
	case <-t.ctx.Done():
		return
	}
	look := time.NewTicker(h.cfg.Every)
	defer look.Stop()
	sweep := time.NewTimer(min(h.cfg.SweepEvery, firstSweep))
	defer sweep.Stop()
	h.tidy()
	for {
		select {
		case <-look.C:
			h.tidy()
		case <-sweep.C:
			h.sweep()
			sweep.Reset(h.cfg.SweepEvery)
		case <-t.ctx.Done():
			return
		}
	}
}

// tidy lets leave what is due. It looks at nothing where nothing can be due.
func (h *housekeeper) tidy() {
	ended := h.t.ended.Load()
	if h.looked && ended == h.ended && (h.next == 0 || h.t.clock.now() < h.next) {
		return
	}
	h.ended, h.looked = ended, false
	if h.t.awaitTrust() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.t.ctx, h.t.s.cfg.CallTimeout)
	index, err := h.cfg.Store.Index(ctx)
	cancel()
	if err != nil {
		h.trouble(fmt.Errorf("the index of the store cannot be read: %w", err))
		return
	}
	for _, s := range index {
		if s.Cut {
			began := time.Now()
			if err := h.remove(s.ID); err != nil {
				h.trouble(err)
				return
			}
			h.rest(began)
		}
	}
	var due []Stored
	due, h.next = h.cfg.Retention.leaving(index, h.t.clock.now())
	err = h.letGo(due)
	h.looked = len(due) == 0 // else it is looked again whether they are gone
	h.trouble(err)
}

// letGo lets runs leave in their order, but for those that failed before, which come last. It returns why some of them stay.
func (h *housekeeper) letGo(due []Stored) error {
	poor := h.poor
	slices.SortStableFunc(due, func(a, b Stored) int {
		switch {
		case poor[a.ID] == poor[b.ID]:
			return 0
		case poor[a.ID]:
			return 1
		}
		return -1
	})
	stay := map[workflow.RunID]bool{}
	for _, s := range due {
		stay[s.ID] = true
	}
	h.poor = map[workflow.RunID]bool{}
	var failed error
	for failures := 0; len(due) > 0 && failures < maxFailures; due = due[1:] {
		s := due[0]
		if h.t.awaitTrust() != nil {
			return nil
		}
		if parent, _, _, _, err := s.Parent.Parse(); err == nil && stay[parent] {
			continue // until that one has left
		}
		began := time.Now()
		left, err := h.leave(s)
		switch {
		case h.t.ctx.Err() != nil:
			return nil
		case err != nil:
			h.t.s.log.Debug("a run cannot leave the store", "run", s.ID, "error", err)
			failed, h.poor[s.ID] = err, true
			failures++
		default:
			failures = 0
		}
		stay[s.ID] = !left
		h.rest(began)
	}
	return failed
}

// leave lets one run leave: claimed, so that no verb makes it active in between; archived and read back; then deleted. It is
// not left and no error when the run is driven, or was since the index was read.
func (h *housekeeper) leave(run Stored) (left bool, err error) {
	id := run.ID
	release, ok := h.t.claim(id)
	if !ok {
		return false, nil
	}
	defer release()
	cfg := &h.t.s.cfg
	load, cancel := context.WithTimeout(h.t.ctx, cfg.CallTimeout)
	m, state, err := h.t.s.load(load, id)
	cancel()
	switch {
	case errors.Is(err, ErrNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("archive run %s: %w", id, err)
	case !state.Head.Status.Terminal() || state.Head.EndedAt != run.EndedAt:
		return false, nil
	}
	cfg.fault(FaultBeforeArchive)
	put, cancel := context.WithTimeout(h.t.ctx, leaveTimeout)
	err = h.cfg.Archive.Put(put, m, state)
	cancel()
	if err != nil {
		return false, fmt.Errorf("archive run %s: %w", id, err)
	}
	cfg.fault(FaultAfterArchive)
	if err := h.remove(id); err != nil {
		return false, err
	}
	h.t.s.log.Debug("run left the store for the archive", "run", id)
	cfg.fault(FaultAfterLeave)
	return true, nil
}

// remove deletes a run that was archived.
func (h *housekeeper) remove(id workflow.RunID) error {
	ctx, cancel := context.WithTimeout(h.t.ctx, leaveTimeout)
	defer cancel()
	err := h.t.s.cfg.Store.Delete(ctx, h.t.epoch, id)
	switch {
	case err == nil:
		h.t.wrote.Store(true)
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrFenced):
		h.t.lost(err)
	}
	return err // says itself what was being done
}

// rest leaves the store to others.
func (h *housekeeper) rest(began time.Time) {
	pause := time.NewTimer(min(restFactor*time.Since(began), maxRest))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-h.t.ctx.Done():
	}
}

// trouble notes why runs stay in the store; nil when they leave as they should. It logs changes only.
func (h *housekeeper) trouble(err error) {
	if h.t.ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	s := h.t.s
	s.mu.Lock()
	before := s.overdue
	s.overdue = text
	s.mu.Unlock()
	switch {
	case err != nil && before == "":
		s.log.Warn("runs that are over cannot leave the store; none is deleted, and all are tried again", "error", err)
	case err == nil && before != "":
		s.log.Info("runs that are over leave the store again")
	}
}

// Overdue says why runs that are over stay in the store although they should leave it, for people; empty when they leave.
func (s *Scheduler) Overdue() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overdue
}

// sweep has the store delete what nobody names.
func (h *housekeeper) sweep() {
	total := 0
	for more := true; more; {
		if h.t.awaitTrust() != nil {
			return
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(h.t.ctx, leaveTimeout)
		swept, again, err := h.cfg.Store.Sweep(ctx, h.t.epoch, h.named)
		cancel()
		switch {
		case h.t.ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced):
			h.t.lost(err)
			return
		case err != nil:
			h.t.s.log.Warn("definitions that nothing names could not be swept; the next sweep tries again", "error", err)
			return
		}
		if total += swept; swept > 0 {
			h.t.wrote.Store(true)
		}
		more = again
		h.rest(began)
	}
	if total > 0 {
		h.t.s.log.Info("swept what nothing names any more", "definitions_and_runs", total)
	}
}

// named collects the definitions that must stay.
func (h *housekeeper) named(ctx context.Context) ([]string, error) {
	var all []string
	for _, n := range h.cfg.Namers {
		hashes, err := n.Named(ctx)
		if err != nil {
			return nil, fmt.Errorf("definitions in use: %w", err)
		}
		all = append(all, hashes...)
	}
	return all, nil
}
