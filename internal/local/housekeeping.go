// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Housekept = (*Store)(nil)

// weigh is when a run that is done ended, and what its records hold.
func weigh(tx *bolt.Tx, id workflow.RunID) (ended workflow.Time, size int64, err error) {
	prefix := recordKey(id, "")
	c := tx.Bucket(recordsBucket).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		size += int64(len(k) + len(v))
		if string(k[len(prefix):]) != scheduler.HeadKey {
			continue
		}
		head, err := unseal(v)
		if err != nil {
			return 0, 0, fmt.Errorf("head of run %s: %w", id, err)
		}
		ended = scheduler.EndOf(head)
	}
	return ended, size, nil
}

// Index implements scheduler.Housekept.
func (s *Store) Index(ctx context.Context) ([]scheduler.Stored, error) {
	var index []scheduler.Stored
	err := s.view(ctx, func(tx *bolt.Tx) error {
		index = nil
		return tx.Bucket(runsBucket).ForEach(func(k, _ []byte) error {
			id := workflow.RunID(k)
			entry, err := getRun(tx, id)
			if err != nil {
				return err
			}
			if entry.Done && entry.EndedAt == 0 {
				if entry.EndedAt, entry.Bytes, err = weigh(tx, id); err != nil {
					return err
				}
			}
			index = append(index, scheduler.Stored{
				ID: id, Parent: entry.Parent, Done: entry.Done, EndedAt: entry.EndedAt, Bytes: entry.Bytes,
			})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return index, nil
}

// Sweep implements scheduler.Housekept, all at once. Creates are whole or not at all, so that there is nothing but
// definitions to sweep.
func (s *Store) Sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (swept int, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("sweep: %w", err)
	}
	// A transaction of its own, which shares nothing with other writes: as long as it lasts there are none, and what named
	// reads is all that is named.
	err = guard(s.path, func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			if err := fenced(tx, epoch); err != nil {
				return err
			}
			if err := raiseEpoch(tx, epoch); err != nil {
				return err
			}
			hashes, err := named(ctx)
			if err != nil {
				return err
			}
			swept, err = sweepDefinitions(tx, hashes)
			return err
		})
	})
	if err != nil {
		return 0, false, fmt.Errorf("sweep: %w", explain(s.path, err))
	}
	return swept, false, nil
}

// sweepDefinitions deletes the definitions that no run has and that are not among hashes.
func sweepDefinitions(tx *bolt.Tx, hashes []string) (swept int, err error) {
	used := map[string]bool{}
	for _, hash := range hashes {
		used[hash] = true
	}
	err = tx.Bucket(runsBucket).ForEach(func(k, _ []byte) error {
		entry, err := getRun(tx, workflow.RunID(k))
		used[entry.Definition] = true
		return err
	})
	if err != nil {
		return 0, err
	}
	var unused [][]byte
	definitions := tx.Bucket(definitionsBucket)
	err = definitions.ForEach(func(k, _ []byte) error {
		if !used[string(k)] {
			unused = append(unused, bytes.Clone(k))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, hash := range unused {
		if err := definitions.Delete(hash); err != nil {
			return 0, err
		}
	}
	return len(unused), nil
}
