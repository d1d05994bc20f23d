// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// load reads a run from the store.
func (s *Scheduler) load(ctx context.Context, id workflow.RunID) (*engine.Machine, *engine.State, error) {
	return s.loadFrom(ctx, s.cfg.Store, id)
}

func (s *Scheduler) loadFrom(ctx context.Context, store Store, id workflow.RunID) (*engine.Machine, *engine.State, error) {
	records, def, err := store.Load(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("load run %s: %w", id, err)
	}
	return s.decode(id, Loaded{records, def})
}

// decode makes a state of what a store holds.
func (s *Scheduler) decode(id workflow.RunID, l Loaded) (*engine.Machine, *engine.State, error) {
	m, err := s.machine(l.Definition)
	if err != nil {
		return nil, nil, fmt.Errorf("load run %s: %w", id, err)
	}
	state, err := m.Load(l.Records)
	if err != nil {
		return nil, nil, fmt.Errorf("load run %s: %w", id, err)
	}
	return m, state, nil
}

// active returns the run's owner, nil when it is not driven here.
func (s *Scheduler) active(id workflow.RunID) *run {
	t, _ := s.current()
	if t == nil {
		return nil
	}
	return t.run(id)
}

// View calls read with the state of a run, which read must neither change nor keep. The owner of an active run waits
// meanwhile: read converts what it needs and leaves the rest for later. A run that is not active here is loaded from the
// store. ErrNotFound: there is no such run.
func (s *Scheduler) View(ctx context.Context, id workflow.RunID, read func(*engine.Machine, *engine.State) error) error {
	if r := s.active(id); r != nil {
		done := make(chan error, 1)
		select {
		case r.views <- viewing{read: read, done: done}:
			// The owner answers even when ctx has ended: read must not run after we have returned.
			if err := <-done; !errors.Is(err, errNotLoaded) {
				return err
			}
		case <-r.over:
		case <-ctx.Done():
			return fmt.Errorf("view run %s: %w", id, ctx.Err())
		}
	}
	d, err := s.loads.do(ctx, fmt.Sprint(id, IsStale(ctx)), func() (*dormant, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
		defer cancel()
		m, state, err := s.load(ctx, id)
		return &dormant{machine: m, state: state}, err
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return read(d.machine, d.state)
}

// dormant is a run that nobody drives, for all who look at it at the moment.
type dormant struct {
	mu      sync.Mutex // one looks at a time
	machine *engine.Machine
	state   *engine.State
}

// Notice says why an active run does not get on, for people: its state cannot be saved or loaded, the executor is in trouble,
// its workflow has as many runs as it may, or the store was restored and the executor is asked first. Empty when it gets on.
func (s *Scheduler) Notice(id workflow.RunID) string {
	r := s.active(id)
	if r == nil {
		return ""
	}
	r.mu.Lock()
	notice := r.notice
	r.mu.Unlock()
	for _, ask := range []func(workflow.RunID) string{r.t.attempts.notice, r.t.children.notice, r.t.gates.notice} {
		if notice == "" {
			notice = ask(id)
		}
	}
	if notice == "" {
		notice = r.t.restoredNotice()
	}
	return notice
}

// Changes waits until the run's index differs from the one given, or ctx ends, and returns the index then. It grows with
// every change of the run. A run that is not active here does not change; its index is that of its last change.
func (s *Scheduler) Changes(ctx context.Context, id workflow.RunID, index uint64) (uint64, error) {
	for {
		r, again := s.lookup(id)
		if r == nil {
			var now uint64
			err := s.View(ctx, id, func(_ *engine.Machine, state *engine.State) error {
				now = changeIndex(state.Head.LastAt)
				return nil
			})
			if err != nil {
				return 0, err
			}
			if now != index {
				return now, nil
			}
			select {
			case <-again:
				continue
			case <-ctx.Done():
				return index, nil
			}
		}
		now, changed, pause := r.shownIndex()
		if now != index {
			return now, nil
		}
		select {
		case <-changed:
		case <-pause:
		case <-r.over:
		case <-ctx.Done():
			return index, nil
		}
	}
}

// Waiting readers are told of changes every showEvery at most, of a large run more seldom and of its end at once: each of
// them asks for the whole document then, and the run has better things to do than to build a hundred a second.
const (
	showEvery = 100 * time.Millisecond
	// showEach is added for every instance: forty times what it takes to make, encode and decode its part of a document,
	// 15 µs, measured.
	showEach      = 600 * time.Microsecond
	showEveryMost = time.Second
)

// pace is how long the index that readers are told stays as it is. The caller holds mu.
func (r *run) pace() time.Duration {
	return min(max(showEvery, time.Duration(r.size)*showEach), showEveryMost)
}

// shownIndex returns the index that readers are told at the moment. When there is a newer one, pause says when to ask again;
// otherwise changed does.
func (r *run) shownIndex() (shown uint64, changed <-chan struct{}, pause <-chan time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown == r.index {
		return r.shown, r.changed, nil
	}
	if wait := r.pace() - time.Since(r.shownAt); wait > 0 {
		return r.shown, nil, time.After(wait)
	}
	r.shown, r.shownAt = r.index, time.Now()
	return r.shown, r.changed, nil
}

// Wait waits until the run is over and its end is saved, and returns its head. A run that nobody drives is waited for as
// long as ctx lasts.
func (s *Scheduler) Wait(ctx context.Context, id workflow.RunID) (engine.Head, error) {
	for {
		r, again := s.lookup(id)
		if r != nil {
			again = r.over
		}
		var head engine.Head
		err := s.View(ctx, id, func(_ *engine.Machine, state *engine.State) error {
			head = state.Head
			return nil
		})
		if err != nil {
			return engine.Head{}, fmt.Errorf("wait for run %s: %w", id, err)
		}
		if head.Status.Terminal() {
			return head, nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return engine.Head{}, fmt.Errorf("wait for run %s: %w", id, ctx.Err())
		}
	}
}

// lookup returns the run's owner, if it is driven here. Otherwise again says when that may have changed: a run that is not
// active before the leader has loaded all may be taken up, and even be over, by then.
func (s *Scheduler) lookup(id workflow.RunID) (r *run, again <-chan struct{}) {
	t, changed := s.current()
	if t == nil {
		return nil, changed
	}
	select {
	case <-t.ready:
		return t.run(id), changed
	default:
		return t.run(id), t.ready
	}
}

// List returns the runs that match, newest first. Nobody may change the list: others may have the same.
func (s *Scheduler) List(ctx context.Context, filter Filter) ([]Summary, error) {
	return s.lists.do(ctx, fmt.Sprintf("%#v %t", filter, IsStale(ctx)), func() ([]Summary, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
		defer cancel()
		return s.cfg.Store.List(ctx, filter)
	})
}

// Logs opens what an attempt wrote. ErrNotFound: it has not written (or never ran); ErrGone: collected already.
func (s *Scheduler) Logs(ctx context.Context, req LogRequest) (io.ReadCloser, error) {
	return s.cfg.Executor.Logs(ctx, req)
}
