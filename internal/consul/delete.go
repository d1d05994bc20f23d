// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// maxTree is how many keys go at once with the prefix they share: a large subtree stalls Consul's servers. deleteOps is how
// many a transaction deletes of a run that has more: a quarter, so that whoever has to save something finds room in the same one.
const (
	maxTree   = 200
	deleteOps = 30
)

// Delete implements scheduler.Store. A run with few keys goes in one transaction. One with many is cut from the index first,
// with its idempotency key: from then on nobody finds it, and its entry leads whoever goes on with the delete to what is
// left. The entry goes last.
func (s *Store) Delete(ctx context.Context, epoch uint64, id workflow.RunID) error {
	if err := s.remove(ctx, epoch, id); err != nil {
		return fmt.Errorf("delete run %s: %w", id, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, epoch uint64, id workflow.RunID) error {
	o, err := s.officeOf(epoch)
	if err != nil {
		return err
	}
	d, err := s.data(ctx)
	if err != nil {
		return err
	}
	e, err := s.readEntry(ctx, d, id)
	switch {
	case err != nil:
		return err
	case !e.Done:
		return fmt.Errorf("%w: the run has not ended", scheduler.ErrConflict)
	}
	left, err := s.keysOf(ctx, d, id)
	if err != nil {
		return err
	}
	if len(left) > maxTree {
		if e, err = s.cut(ctx, o, d, id, e); err == nil {
			err = deleteKeys(left, func(ops ...*consulapi.KVTxnOp) error { return s.put(ctx, o, id, newWrite("", ops...)) })
		}
		if err != nil {
			return err
		}
	}
	ops := []*consulapi.KVTxnOp{unchanged(d, id, e), remove(d.indexOf(id)), removeTree(d.run(id)), removeTree(d.hot(id))}
	return s.putGuarded(ctx, o, id, newWrite("", append(ops, d.freed(e)...)...))
}

// cut takes a run out of the index.
func (s *Store) cut(ctx context.Context, o *office, d data, id workflow.RunID, e entry) (entry, error) {
	if e.Cut {
		return e, nil
	}
	next := e
	next.Version, next.Cut = s.format(ctx), true
	w := newWrite(d.indexOf(id), append(d.freed(e), unchanged(d, id, e), set(d.indexOf(id), encode(next)))...)
	if err := s.putGuarded(ctx, o, id, w); err != nil {
		return e, err
	}
	next.index = w.index
	return next, nil
}

// freed frees the idempotency key that a run has, unless that is done: it may have another run by now.
func (d data) freed(e entry) []*consulapi.KVTxnOp {
	if e.Key == "" || e.Cut {
		return nil
	}
	return []*consulapi.KVTxnOp{remove(d.idempotency(e.Namespace, e.Workflow, e.Key))}
}

// putGuarded is put for a write that begins anew where its run has changed.
func (s *Store) putGuarded(ctx context.Context, o *office, id workflow.RunID, w *write) error {
	err := s.put(ctx, o, id, w)
	if errors.Is(err, errGuard) {
		return fmt.Errorf("%w: %w", scheduler.ErrConflict, err)
	}
	return err
}

// keysOf lists what is stored of a run beside its entry.
func (s *Store) keysOf(ctx context.Context, d data, id workflow.RunID) ([]string, error) {
	fixed, err := s.client.names(ctx, d.run(id), "")
	if err != nil {
		return nil, err
	}
	hot, err := s.client.names(ctx, d.hot(id), "")
	return append(fixed, hot...), err
}

// deleteKeys deletes keys that nothing leads to any more, a few at a time.
func deleteKeys(keys []string, put func(...*consulapi.KVTxnOp) error) error {
	for chunk := range slices.Chunk(keys, deleteOps) {
		var ops []*consulapi.KVTxnOp
		for _, key := range chunk {
			ops = append(ops, remove(key))
		}
		if err := put(ops...); err != nil {
			return err
		}
	}
	return nil
}
