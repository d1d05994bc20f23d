// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/durable"
)

// seq is the one counter.
type seq struct {
	Incarnation string `json:"incarnation"` // a UUID; epoch and n are compared within one only
	Epoch       uint64 `json:"epoch"`
	N           uint64 `json:"n"`
	Session     string `json:"session"` // whose it is
	// Restored says that what is stored was restored from a backup, and that what was done since that is not known yet.
	Restored bool `json:"restored,omitempty"`
}

// before reports whether s was counted before o, in one incarnation.
func (s seq) before(o seq) bool {
	return s.Incarnation == o.Incarnation && (s.Epoch < o.Epoch || s.Epoch == o.Epoch && s.N < o.N)
}

// counter reads the counter and the index of its key; both are zero where nobody has led yet.
func (c *client) counter(ctx context.Context, k keys) (seq, uint64, error) {
	pairs, err := c.read(ctx, get(k.seq()))
	if err != nil || len(pairs) == 0 {
		return seq{}, 0, err
	}
	s, err := parseSeq(k, pairs[0])
	if err != nil {
		return seq{}, 0, err
	}
	return s, pairs[0].ModifyIndex, nil
}

// parseSeq reads the counter of its key's value.
func parseSeq(k keys, pair *consulapi.KVPair) (s seq, err error) {
	if err := json.Unmarshal(pair.Value, &s); err != nil {
		return seq{}, fmt.Errorf("key %s holds no counter but %q: %w", k.seq(), pair.Value, err)
	}
	return s, nil
}

// seen keeps the highest counter that this server has seen: in memory, and in a file, which is at most seenEvery behind.
type seen struct {
	file string // empty: in memory only
	log  hclog.Logger

	mu     sync.Mutex // guards what follows
	top    seq
	stored time.Time
}

const seenEvery = time.Second

// readSeen reads the file. One that is damaged is an error: to forget it is for people to decide.
func readSeen(file string, log hclog.Logger) (*seen, error) {
	s := &seen{file: file, log: log}
	if file == "" {
		return s, nil
	}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("read the highest counter seen: %w", err)
	}
	if err := json.Unmarshal(b, &s.top); err != nil {
		return nil, fmt.Errorf("read the highest counter seen: %s is damaged (%w); remove it if Consul was not restored since this server stopped",
			file, err)
	}
	return s, nil
}

func (s *seen) highest() seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.top
}

// note keeps a counter that was seen. It stores it when a new epoch begins, or seenEvery after the last time.
func (s *seen) note(now seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Epoch < s.top.Epoch || now.before(s.top) || now == s.top {
		return
	}
	begins := s.top.Epoch != now.Epoch || s.top.Incarnation != now.Incarnation
	s.top = now
	if begins || time.Since(s.stored) >= seenEvery {
		s.write()
	}
}

// store writes the counter that note may have left for later.
func (s *seen) store() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write()
}

// write replaces the file. The caller holds mu.
func (s *seen) write() {
	if s.file == "" {
		return
	}
	s.stored = time.Now()
	if err := durable.Replace(s.file, encode(s.top)); err != nil {
		s.log.Error("the highest counter seen cannot be stored; a restore of Consul may go unnoticed", "error", err)
	}
}
