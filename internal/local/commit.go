// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// write is one write that waits for its transaction.
type write struct {
	// do checks and then changes. A refusal concerns this write alone and must come before the first change; a fatal error
	// undoes the whole transaction.
	do  func(tx *bolt.Tx) (refusal, fatal error)
	err error
	// turn gets one value: false when err is final, true when this write's goroutine has to commit the next group.
	turn chan bool
}

// maxGroup bounds the writes of one transaction, and with it how long the first of them waits.
const maxGroup = 64

// update makes a write durable. Writes that arrive while a transaction is being synced share the next one: two syncs for
// all of them. It does not return before the outcome is known, whatever ctx does.
func (s *Store) update(ctx context.Context, do func(tx *bolt.Tx) (refusal, fatal error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{do: do, turn: make(chan bool, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, w)
	lead := !s.writing
	s.writing = true
	s.mu.Unlock()
	if !lead {
		if lead = <-w.turn; !lead {
			return w.err
		}
	}

	s.mu.Lock()
	group := slices.Clone(s.queue[:min(len(s.queue), maxGroup)]) // w is its first
	s.queue = slices.Delete(s.queue, 0, len(group))
	s.mu.Unlock()
	s.commit(group)
	s.mu.Lock()
	if s.writing = len(s.queue) > 0; s.writing {
		s.queue[0].turn <- true
	}
	s.mu.Unlock()
	for _, other := range group[1:] {
		other.turn <- false
	}
	return w.err
}

func (s *Store) commit(group []*write) {
	err := guard(s.path, func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			refused := 0
			for _, w := range group {
				var fatal error
				if w.err, fatal = w.do(tx); fatal != nil {
					return fatal
				}
				if w.err != nil {
					refused++
				}
			}
			if refused == len(group) {
				return errNothingToWrite // saves the two syncs
			}
			return nil
		})
	})
	if err == nil {
		s.space.ahead(s.path, s.db)
	}
	if err != nil && !errors.Is(err, errNothingToWrite) {
		for _, w := range group {
			w.err = explain(s.path, err)
		}
	}
}

var errNothingToWrite = errors.New("nothing to write")

// view reads under one consistent snapshot.
func (s *Store) view(ctx context.Context, read func(tx *bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return guard(s.path, func() error { return s.db.View(read) })
}

// explain says what a full or read-only disk means for the run.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return fmt.Errorf("state file %s: there is no space left for it; what was saved before is safe, free some space and the run goes on: %w",
			path, err)
	case errors.Is(err, berrors.ErrDatabaseReadOnly):
		return fmt.Errorf("state file %s is open for reading only: %w", path, err)
	}
	return fmt.Errorf("state file %s: %w", path, err)
}

// spaceStep is how much of the file is written with zeros ahead of its use. A page whose block exists already costs a sync
// only its data; a new block also costs the file system a commit of its own journal.
const spaceStep = 256 << 10

// space keeps blocks ready beyond the used part of the file. Only the writing goroutine uses it.
type space struct {
	size int64 // of the file, as far as known
}

// ahead extends the file when less than half a step is unused. It is an optimisation: where it fails, the write that needs
// the space will say so.
func (sp *space) ahead(path string, db *bolt.DB) {
	if db.IsReadOnly() {
		return
	}
	var used int64
	if err := db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		return
	}
	if used+spaceStep/2 <= sp.size {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	sp.size = st.Size()
	if used+spaceStep/2 <= sp.size {
		return
	}
	if n, err := f.WriteAt(make([]byte, spaceStep), sp.size); err == nil {
		sp.size += int64(n)
	}
}
