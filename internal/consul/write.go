// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// open counts the writes of a run whose outcome is not known yet.
type open struct {
	writes int
	none   chan struct{} // closed when there are none any more
}

// put hands a write of a run to the lane.
func (s *Store) put(ctx context.Context, o *office, id workflow.RunID, w *write) error {
	s.mu.Lock()
	p := s.open[id]
	if p == nil {
		p = &open{none: make(chan struct{})}
		s.open[id] = p
	}
	p.writes++
	s.mu.Unlock()
	also := w.over
	w.over = func() {
		if also != nil {
			also()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.writes--; p.writes == 0 {
			delete(s.open, id)
			close(p.none)
		}
	}
	return o.put(ctx, w)
}

// settled waits until the outcome of every write of a run is known: what is read before could still change.
func (s *Store) settled(ctx context.Context, id workflow.RunID) error {
	s.mu.Lock()
	p := s.open[id]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.none:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a write before has no answer from Consul yet: %w", ctx.Err())
	}
}

// spread makes the operations of a save out of its records, after those given. What is too much for one transaction and only
// pointed to is returned to be written ahead, where nothing names it yet.
func spread(d data, id workflow.RunID, records []scheduler.Record, ops []*consulapi.KVTxnOp) (together, ahead []*consulapi.KVTxnOp) {
	var fixed []*consulapi.KVTxnOp
	for _, r := range records {
		op := change(d, id, r)
		if isFixed(r.Key) {
			fixed = append(fixed, op)
		} else {
			ops = append(ops, op)
		}
	}
	slices.SortStableFunc(fixed, func(a, b *consulapi.KVTxnOp) int { return cmp.Compare(size(a), size(b)) })
	n, bytes := len(ops), sizes(ops)
	for i, op := range fixed {
		if n, bytes = n+1, bytes+size(op); n > maxOps || bytes > maxBytes {
			return ops, fixed[i:]
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// putAhead writes operations in as few transactions as they take.
func (s *Store) putAhead(ctx context.Context, o *office, id workflow.RunID, ops []*consulapi.KVTxnOp) error {
	for len(ops) > 0 {
		n, bytes := 0, 0
		for n < len(ops) && n < maxOps && bytes+size(ops[n]) <= maxBytes {
			bytes += size(ops[n])
			n++
		}
		if err := s.put(ctx, o, id, newWrite("", ops[:n]...)); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// turn saves a run that ends, begins again, or changes after its end. What is hot of a run that is over lies packed beside
// what never changes. The entry names which of the two counts, so all else may be written ahead of it.
func (s *Store) turn(ctx context.Context, o *office, d data, id workflow.RunID, changes []scheduler.Record, done bool) error {
	if err := s.settled(ctx, id); err != nil {
		return err
	}
	e, records, err := s.readRun(ctx, d, id)
	if err != nil {
		return err
	}
	if len(changes) == 0 && e.Done == done { // nothing but the fence
		return s.put(ctx, o, id, newWrite("", unchanged(d, id, e)))
	}
	next := e
	next.Done = done
	next.Staged, next.EndedAt, next.Bytes = 0, 0, 0
	hot, fixed := merge(records, changes)
	var ahead, ops []*consulapi.KVTxnOp
	for _, r := range fixed {
		ahead = append(ahead, change(d, id, r))
	}
	if done {
		next.Packed++
		hot = slices.DeleteFunc(hot, func(r scheduler.Record) bool {
			if r.Key == scheduler.HeadKey {
				ops = append(ops, set(d.head(id, true), r.Value))
				next.EndedAt = scheduler.EndOf(r.Value)
			}
			return r.Key == scheduler.HeadKey
		})
		packed, err := packAt(d.packed(id, next.Packed), hot)
		if err != nil {
			return err
		}
		next.Bytes = fixedBytes(d, id, records, fixed) + int64(sizes(packed)+sizes(ops))
		ahead = append(ahead, packed...)
		ops = append(ops, removeTree(d.hot(id)))
	} else {
		ahead = append(ahead, removeTree(d.hot(id))) // what is left of a try before this one
		for _, r := range hot {
			ahead = append(ahead, set(d.record(id, r.Key), r.Value))
		}
	}
	if e.Staged != 0 {
		ops = append(ops, removeTree(d.staged(id, e.Staged)))
	}
	if e.Done {
		ops = append(ops, removeTree(d.packed(id, e.Packed)))
	}
	if e.Done && !done {
		ops = append(ops, remove(d.head(id, true)))
	}
	ops = append(ops, set(d.indexOf(id), encode(next)))
	guard := unchanged(d, id, e)
	if 1+len(ahead)+len(ops) <= maxOps && size(guard)+sizes(ahead)+sizes(ops) <= maxBytes {
		ops, ahead = slices.Concat(ahead, ops), nil
	}
	if err := s.putAhead(ctx, o, id, ahead); err != nil {
		return err
	}
	w := newWrite(d.indexOf(id), slices.Insert(ops, 0, guard)...)
	if err := s.put(ctx, o, id, w); err != nil {
		return err
	}
	next.index = w.index
	s.known.put(id, next)
	return nil
}

// fixedBytes is what the records that never change take up, after changes to them.
func fixedBytes(d data, id workflow.RunID, records, changes []scheduler.Record) (n int64) {
	now := map[string]int{}
	for _, r := range slices.Concat(records, changes) {
		if isFixed(r.Key) {
			now[r.Key] = size(change(d, id, r))
		}
		if r.Value == nil {
			delete(now, r.Key)
		}
	}
	for _, bytes := range now {
		n += int64(bytes)
	}
	return n
}

// packAt is what writes records as packs below a prefix, after what a try before this one has left there.
func packAt(prefix string, records []scheduler.Record) ([]*consulapi.KVTxnOp, error) {
	packed, err := pack(records)
	if err != nil {
		return nil, err
	}
	ops := []*consulapi.KVTxnOp{removeTree(prefix)}
	for n, value := range split(packed) {
		ops = append(ops, set(part(prefix, n), value))
	}
	return ops, nil
}

// saveHot writes what changed of an active run.
func (s *Store) saveHot(ctx context.Context, o *office, d data, id workflow.RunID, e entry, records []scheduler.Record) error {
	if e.Staged != 0 {
		var err error
		if e, err = s.carryOver(ctx, o, d, id, e); err != nil {
			return err
		}
	}
	ops, ahead := spread(d, id, records, []*consulapi.KVTxnOp{unchanged(d, id, e)})
	if tooMuch(ops) {
		return s.stage(ctx, o, d, id, e, records)
	}
	if err := s.putAhead(ctx, o, id, ahead); err != nil {
		return err
	}
	return s.put(ctx, o, id, newWrite("", ops...))
}

// stage saves what is too much for one transaction: packed, and named by the entry. Then it is carried over; where that
// fails, the next save begins with it.
func (s *Store) stage(ctx context.Context, o *office, d data, id workflow.RunID, e entry, records []scheduler.Record) error {
	next := e
	next.Stages++
	next.Staged = next.Stages
	ahead, err := stagedAhead(d, id, next.Staged, records)
	if err != nil {
		return err
	}
	if err := s.putAhead(ctx, o, id, ahead); err != nil {
		return err
	}
	w := newWrite(d.indexOf(id), unchanged(d, id, e), set(d.indexOf(id), encode(next)))
	if err := s.put(ctx, o, id, w); err != nil {
		return err
	}
	next.index = w.index
	s.known.put(id, next)
	s.carryOverNow(ctx, o, d, id, next)
	return nil
}

// stagedAhead is what is written before an entry names it: what never changes, and the rest packed.
func stagedAhead(d data, id workflow.RunID, generation int, records []scheduler.Record) ([]*consulapi.KVTxnOp, error) {
	var fixed []*consulapi.KVTxnOp
	var hot []scheduler.Record
	for _, r := range records {
		if isFixed(r.Key) {
			fixed = append(fixed, change(d, id, r))
		} else {
			hot = append(hot, r)
		}
	}
	packed, err := packAt(d.staged(id, generation), hot)
	return append(fixed, packed...), err
}

// tooMuch reports whether operations do not fit into one transaction.
func tooMuch(ops []*consulapi.KVTxnOp) bool { return len(ops) > maxOps || sizes(ops) > maxBytes }

// carryOverNow carries over what was just staged. It is stored already: where this fails, the next save begins with it.
func (s *Store) carryOverNow(ctx context.Context, o *office, d data, id workflow.RunID, e entry) {
	if _, err := s.carryOver(ctx, o, d, id, e); err != nil {
		s.elector.log.Warn("a large save is stored, and not yet where it belongs; the next save carries it over", "run", id, "error", err)
		s.known.forget(id)
	}
}

// carryOver puts what is staged where it belongs, and makes the entry say so.
func (s *Store) carryOver(ctx context.Context, o *office, d data, id workflow.RunID, e entry) (entry, error) {
	pairs, err := s.client.read(ctx, tree(d.staged(id, e.Staged)))
	if err != nil {
		return e, err
	}
	staged, err := unpackAll(pairs)
	if err != nil {
		return e, err
	}
	var ops []*consulapi.KVTxnOp
	for _, r := range staged {
		ops = append(ops, change(d, id, r))
	}
	if err := s.putAhead(ctx, o, id, ops); err != nil {
		return e, err
	}
	next := e
	next.Staged = 0
	w := newWrite(d.indexOf(id), unchanged(d, id, e), set(d.indexOf(id), encode(next)), removeTree(d.staged(id, e.Staged)))
	if err := s.put(ctx, o, id, w); err != nil {
		return e, err
	}
	next.index = w.index
	s.known.put(id, next)
	return next, nil
}

// merge applies changes to all records of a run. It returns what is hot then, sorted by key, and the changes to what is
// fixed.
func merge(records, changes []scheduler.Record) (hot, fixed []scheduler.Record) {
	now := map[string][]byte{}
	for _, r := range records {
		if !isFixed(r.Key) {
			now[r.Key] = r.Value
		}
	}
	for _, r := range changes {
		switch {
		case isFixed(r.Key):
			fixed = append(fixed, r)
		case r.Value == nil:
			delete(now, r.Key)
		default:
			now[r.Key] = r.Value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		hot = append(hot, scheduler.Record{Key: key, Value: now[key]})
	}
	return hot, fixed
}

// change is the operation that stores a record, or removes it.
func change(d data, id workflow.RunID, r scheduler.Record) *consulapi.KVTxnOp {
	if r.Value == nil {
		return remove(d.record(id, r.Key))
	}
	return set(d.record(id, r.Key), r.Value)
}
