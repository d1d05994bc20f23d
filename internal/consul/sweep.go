// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"fmt"
	"strings"
	"sync"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Housekept = (*Store)(nil)

// Index implements scheduler.Housekept: one read, of the entries alone. A run that cannot be read counts as one that goes
// on: it stays, and so do the runs that it started.
func (s *Store) Index(ctx context.Context) ([]scheduler.Stored, error) {
	d, err := s.data(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	pairs, err := s.client.read(ctx, tree(d.index()))
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	index := make([]scheduler.Stored, len(pairs))
	var old []scheduler.Summary // whose end an earlier Cairn saved
	at := map[workflow.RunID]int{}
	for n, p := range pairs {
		id := workflow.RunID(strings.TrimPrefix(p.Key, d.index()))
		index[n].ID = id
		e, err := decodeEntry(id, p.Value, p.ModifyIndex)
		if err != nil {
			s.elector.log.Debug("a run is kept: it cannot be read", "run", id, "error", err)
			continue
		}
		index[n] = scheduler.Stored{ID: id, Parent: e.Parent, Done: e.Done, EndedAt: e.EndedAt, Bytes: e.Bytes, Cut: e.Cut}
		if e.Done && !e.Cut && e.EndedAt == 0 {
			old, at[id] = append(old, scheduler.Summary{ID: id, Done: true}), n
		}
	}
	old, err = s.heads(ctx, d, old, nil)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	for _, sum := range old {
		index[at[sum.ID]].EndedAt = scheduler.EndOf(sum.Head)
	}
	return index, nil
}

// naming keeps the sweep of definitions apart from whoever is about to name one: who has seen that a definition is stored, and
// has not yet written what names it. There is one writer, so that it is enough to do so within one process: what another
// leader had on its way is fenced.
type naming struct {
	mu      sync.Mutex // guards what follows
	naming  int        // so many are about to name a definition
	alone   int        // the sweep, if it is at work, and its writes whose outcome is not known yet
	changed chan struct{}
}

// enter is called before a definition is looked for, and what it returns after what names it is written.
func (n *naming) enter(ctx context.Context) (leave func(), err error) {
	err = n.await(ctx, func() bool {
		if n.alone > 0 {
			return false
		}
		n.naming++
		return true
	})
	return func() { n.change(func() { n.naming-- }) }, err
}

// close waits until nobody is about to name a definition, and lets nobody be until what it returns is called and every write
// of putAlone is over.
func (n *naming) close(ctx context.Context) (open func(), err error) {
	closed := false
	err = n.await(ctx, func() bool {
		if !closed && n.alone > 0 {
			return false
		}
		if !closed {
			n.alone, closed = 1, true
		}
		return n.naming == 0
	})
	open = func() { n.change(func() { n.alone-- }) }
	if err != nil && closed {
		open()
	}
	return open, err
}

// await tries until it succeeds or ctx ends.
func (n *naming) await(ctx context.Context, try func() bool) error {
	for {
		n.mu.Lock()
		done := try()
		if n.changed == nil {
			n.changed = make(chan struct{})
		}
		changed := n.changed
		n.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *naming) change(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// A sweep deletes so many definitions at most, and so many keys of runs that never came to be. Creates wait meanwhile.
const (
	maxSwept     = 50
	maxSweptKeys = 300
)

// Sweep implements scheduler.Housekept. It looks twice: at first at its leisure, and where it finds something, once more
// while nobody can be about to name it.
func (s *Store) Sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (swept int, more bool, err error) {
	swept, more, err = s.sweep(ctx, epoch, named)
	if err != nil {
		err = fmt.Errorf("sweep: %w", err)
	}
	return swept, more, err
}

func (s *Store) sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (swept int, more bool, err error) {
	o, err := s.officeOf(epoch)
	if err != nil {
		return 0, false, err
	}
	d, err := s.data(ctx)
	if err != nil {
		return 0, false, err
	}
	defs, err := s.client.names(ctx, d.definitions(), "/")
	if err != nil {
		return 0, false, err
	}
	uncreated, err := s.traces(ctx, d)
	if err != nil {
		return 0, false, err
	}
	inUse, err := s.inUse(ctx, d, named)
	if err != nil {
		return 0, false, err
	}
	if defs, uncreated = inUse.without(defs), inUse.unknown(uncreated); len(defs)+len(uncreated) == 0 {
		return 0, false, nil
	}
	open, err := s.naming.close(ctx)
	if err != nil {
		return 0, false, err
	}
	defer open()
	if inUse, err = s.settledUse(ctx, d, named); err != nil {
		return 0, false, err
	}
	defs, uncreated = inUse.without(defs), inUse.unknown(uncreated)
	dropped, more, err := s.dropDefinitions(ctx, o, defs)
	if err != nil {
		return 0, false, err
	}
	removed, again, err := s.removeTraces(ctx, o, d, uncreated)
	return dropped + removed, more || again, err
}

// inUse is what runs and others name.
type inUse struct {
	definitions map[string]bool // by prefix
	runs        map[workflow.RunID]bool
}

// inUse reads what is named. A run that cannot be read may name anything.
func (s *Store) inUse(ctx context.Context, d data, named func(context.Context) ([]string, error)) (inUse, error) {
	u := inUse{map[string]bool{}, map[workflow.RunID]bool{}}
	pairs, err := s.client.read(ctx, tree(d.index()))
	if err != nil {
		return u, err
	}
	for _, p := range pairs {
		id := workflow.RunID(strings.TrimPrefix(p.Key, d.index()))
		e, err := decodeEntry(id, p.Value, p.ModifyIndex)
		if err != nil {
			return u, err
		}
		u.runs[id] = true
		u.definitions[d.definition(e.Definition)] = true
	}
	hashes, err := named(ctx)
	for _, hash := range hashes {
		u.definitions[d.definition(hash)] = true
	}
	return u, err
}

// settledUse is inUse when naming is closed, and every write is known that was on its way then: a create may have been given
// up by its caller, and be done all the same.
func (s *Store) settledUse(ctx context.Context, d data, named func(context.Context) ([]string, error)) (inUse, error) {
	s.mu.Lock()
	var writing []workflow.RunID
	for id := range s.open {
		writing = append(writing, id)
	}
	s.mu.Unlock()
	u, err := s.inUse(ctx, d, named)
	if err != nil {
		return u, err
	}
	waited := false
	for _, id := range writing {
		if !u.runs[id] {
			waited = true
			if err := s.settled(ctx, id); err != nil {
				return u, err
			}
		}
	}
	if waited {
		return s.inUse(ctx, d, named)
	}
	return u, nil
}

func (u *inUse) without(prefixes []string) (out []string) {
	for _, prefix := range prefixes {
		if !u.definitions[prefix] {
			out = append(out, prefix)
		}
	}
	return out
}

func (u *inUse) unknown(ids []workflow.RunID) (out []workflow.RunID) {
	for _, id := range ids {
		if !u.runs[id] {
			out = append(out, id)
		}
	}
	return out
}

// traces lists the runs of which something is stored beside the index.
func (s *Store) traces(ctx context.Context, d data) (ids []workflow.RunID, err error) {
	seen := map[workflow.RunID]bool{}
	for _, kind := range []string{d.prefix + "run/", d.prefix + "hot/"} {
		shards, err := s.client.names(ctx, kind, "/")
		if err != nil {
			return nil, err
		}
		for _, shard := range shards {
			runs, err := s.client.names(ctx, shard, "/")
			if err != nil {
				return nil, err
			}
			for _, prefix := range runs {
				id := workflow.RunID(strings.TrimSuffix(strings.TrimPrefix(prefix, shard), "/"))
				if !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
		}
	}
	return ids, nil
}

// dropDefinitions deletes definitions that nothing names. naming is closed.
func (s *Store) dropDefinitions(ctx context.Context, o *office, prefixes []string) (dropped int, more bool, err error) {
	if more = len(prefixes) > maxSwept; more {
		prefixes = prefixes[:maxSwept]
	}
	if len(prefixes) == 0 {
		return 0, false, nil
	}
	var ops []*consulapi.KVTxnOp
	for _, prefix := range prefixes {
		ops = append(ops, removeTree(prefix))
	}
	if err := s.putAlone(ctx, o, "", ops...); err != nil {
		return 0, false, err
	}
	return len(prefixes), more, nil
}

// putAlone puts a write of the sweep. Where its answer is not awaited to its end, naming stays closed all the same until it
// is there.
func (s *Store) putAlone(ctx context.Context, o *office, id workflow.RunID, ops ...*consulapi.KVTxnOp) error {
	s.naming.change(func() { s.naming.alone++ })
	w := newWrite("", ops...)
	w.over = func() {
		s.parts.clear() // whoever has read a definition before keeps it no more
		s.naming.change(func() { s.naming.alone-- })
	}
	return s.put(ctx, o, id, w)
}

// removeTraces deletes what is left of runs that have no entry: what was written ahead of a create that never came.
// naming is closed, so that none of them can be on its way.
func (s *Store) removeTraces(ctx context.Context, o *office, d data, ids []workflow.RunID) (removed int, more bool, err error) {
	room := maxSweptKeys
	for _, id := range ids {
		if room == 0 {
			return removed, true, nil
		}
		left, err := s.keysOf(ctx, d, id)
		if err != nil {
			return removed, false, err
		}
		whole := len(left) <= room
		left = left[:min(len(left), room)]
		room -= len(left)
		err = deleteKeys(left, func(ops ...*consulapi.KVTxnOp) error { return s.putAlone(ctx, o, id, ops...) })
		if err != nil {
			return removed, false, err
		}
		if !whole {
			return removed, true, nil
		}
		removed++
	}
	return removed, false, nil
}
