// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"errors"
	"maps"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

var (
	errFenced  = errors.New("fenced by a newer epoch")
	errUnknown = errors.New("no answer from the store")
)

// store is a durable map of records, fenced by epoch. A restored one refuses whoever led before.
type store struct {
	records map[string][]byte
	epoch   uint64 // highest that has written or taken office
	floor   uint64 // leaderships up to this one are over, whatever they think

	snapshots []snapshot
	newest    map[place]int               // number of the newest attempt of each instance that is stored
	recorded  map[workflow.AttemptID]bool // attempts that a committed save, or what was loaded, knows
}

// snapshot is a copy of the store as it once was, with the length of the journal at that moment.
type snapshot struct {
	records map[string][]byte
	history int
}

func newStore() *store {
	return &store{records: map[string][]byte{}, recorded: map[workflow.AttemptID]bool{}, newest: map[place]int{}}
}

// save writes all records or none.
func (s *store) save(epoch uint64, records []engine.Record) error {
	if epoch < s.epoch || epoch <= s.floor {
		return errFenced
	}
	s.epoch = epoch
	for _, r := range records {
		if r.Value == nil {
			delete(s.records, r.Key)
			continue
		}
		s.records[r.Key] = r.Value
	}
	return nil
}

// load returns all records in the order of their keys.
func (s *store) load() []engine.Record {
	keys := slices.Sorted(maps.Keys(s.records))
	out := make([]engine.Record, len(keys))
	for i, k := range keys {
		out[i] = engine.Record{Key: k, Value: s.records[k]}
	}
	return out
}

// keep takes a snapshot that rollback may return to.
func (s *store) keep(history int) {
	s.snapshots = append(s.snapshots, snapshot{records: maps.Clone(s.records), history: history})
}

// rollback restores a snapshot; everybody who leads has to take office anew. Later snapshots are of a history that did not
// happen any more.
func (s *store) rollback(i int) snapshot {
	snap := s.snapshots[i]
	s.records = maps.Clone(snap.records)
	s.floor = s.epoch
	s.snapshots = s.snapshots[:i+1]
	return snap
}
