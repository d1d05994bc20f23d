// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/cairnflow/cairn/internal/workflow"
)

// entryVersion is the version of the durable form of entries and of what they lead to. A reader accepts this one and the one
// before.
const entryVersion = 1

// entry is the index entry of a run.
type entry struct {
	Version    int                `json:"version"`
	Workflow   string             `json:"workflow"`
	Namespace  string             `json:"namespace"`
	Key        string             `json:"key,omitempty"` // idempotency key
	Parent     workflow.AttemptID `json:"parent,omitempty"`
	Labels     map[string]string  `json:"labels,omitempty"`
	CreatedAt  workflow.Time      `json:"created_at"`
	Definition string             `json:"definition"`
	Done       bool               `json:"done,omitempty"`
	// Packed is the generation of the packs that hold what was hot; while the run is active, of those it had last.
	Packed int `json:"packed,omitempty"`
	// Staged is the generation of the packs that hold a save that was too much for one transaction: what is hot counts only
	// together with them. 0: nothing is staged. Stages is the last generation used.
	Staged int `json:"staged,omitempty"`
	Stages int `json:"stages,omitempty"`
	// EndedAt and Bytes are for retention: when a run that is done ended, and what its keys hold, before Consul's own
	// overhead. Both are 0 where an earlier Cairn saved its end.
	EndedAt workflow.Time `json:"ended_at,omitempty"`
	Bytes   int64         `json:"bytes,omitempty"`
	// Cut says that the run is being deleted: what is left of it is garbage, which this entry leads to.
	Cut bool `json:"cut,omitempty"`

	index uint64 // of its key
}

func decodeEntry(id workflow.RunID, value []byte, index uint64) (entry, error) {
	e := entry{index: index}
	if err := json.Unmarshal(value, &e); err != nil {
		return e, fmt.Errorf("index entry of run %s: %w", id, err)
	}
	if e.Version > entryVersion || e.Version < entryVersion-1 {
		return e, fmt.Errorf("index entry of run %s has version %d, this Cairn reads %d: a newer one has written it", id, e.Version, entryVersion)
	}
	return e, nil
}

// known keeps the entries of active runs, as the leader has written them last.
type known struct {
	mu      sync.Mutex // guards entries
	entries map[workflow.RunID]entry
}

func (k *known) get(id workflow.RunID) (entry, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.entries[id]
	return e, ok
}

// put keeps the entry of an active run and forgets that of one that is over.
func (k *known) put(id workflow.RunID, e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entries == nil {
		k.entries = map[workflow.RunID]entry{}
	}
	if e.Done {
		delete(k.entries, id)
		return
	}
	k.entries[id] = e
}

func (k *known) forget(id workflow.RunID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.entries, id)
}

func (k *known) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.entries)
}
