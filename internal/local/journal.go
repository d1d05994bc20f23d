// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairnflow/cairn/internal/workflow"
)

const journalFile = "journal"

type entryKind string

// An attempt writes one entry of each kind, in this order; one that never got a process has no start.
const (
	entryClaim entryKind = "claim"
	entryStart entryKind = "start"
	entryEnd   entryKind = "end"
)

// entry is one line of the journal.
type entry struct {
	Kind    entryKind          `json:"kind"`
	Attempt workflow.AttemptID `json:"attempt"`
	At      workflow.Time      `json:"at"`
	Markers []string           `json:"markers,omitempty"`  // claim: environment by which its processes are known
	Cleanup []string           `json:"cleanup,omitempty"`  // claim
	PID     int                `json:"pid,omitempty"`      // start
	Ticks   uint64             `json:"ticks,omitempty"`    // start: when the process began, in clock ticks since boot, not before
	TicksTo uint64             `json:"ticks_to,omitempty"` // and not after
	State   *attemptState      `json:"state,omitempty"`    // end
}

// journal appends entries. A line is one write, so that a crash leaves whole lines and at most one half at the end. It is
// not synced: the page cache survives every death of a process, and after a power cut no process is left to find.
type journal struct {
	f *os.File
	// pending are lines that did not fit the disk; they are tried again with the next one. At most one per entry.
	pending [][]byte
	torn    bool // the file may end in half a line
}

// record is what the journal says of one attempt.
type record struct {
	claim, start *entry
	end          *attemptState
}

// openJournal reads the journal, cuts off a half-written last line, and opens it for appending. damaged counts lines in
// the middle that cannot be read: their attempts look as if the line had never been written.
func openJournal(dir string) (j *journal, records map[workflow.AttemptID]*record, damaged int, err error) {
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("open journal: %w", err)
	}
	records, whole, damaged, err := readJournal(f)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		return nil, nil, 0, errors.Join(fmt.Errorf("read journal: %w", err), f.Close())
	}
	return &journal{f: f}, records, damaged, nil
}

// readJournal reads entries up to the last whole line, whose end is returned.
func readJournal(r io.Reader) (records map[workflow.AttemptID]*record, whole int64, damaged int, err error) {
	records = map[workflow.AttemptID]*record{}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, whole, damaged, nil
		}
		if err != nil {
			return nil, 0, 0, err
		}
		whole += int64(len(line))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e entry
		if json.Unmarshal(line, &e) != nil || e.Attempt == "" {
			damaged++
			continue
		}
		rec := records[e.Attempt]
		if rec == nil {
			rec = &record{}
			records[e.Attempt] = rec
		}
		switch e.Kind {
		case entryClaim:
			rec.claim = &e
		case entryStart:
			rec.start = &e
		case entryEnd:
			if rec.end == nil { // the first one holds
				rec.end = e.State
			}
		}
	}
}

// ended looks up how an attempt ended; ok is false when the journal does not say.
func ended(dir string, id workflow.AttemptID) (state attemptState, ok bool, err error) {
	f, err := os.Open(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state, false, nil
	}
	if err != nil {
		return state, false, fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	records, _, _, err := readJournal(f)
	if err != nil {
		return state, false, fmt.Errorf("read journal: %w", err)
	}
	if r := records[id]; r != nil && r.end != nil {
		return *r.end, true, nil
	}
	return state, false, nil
}

// append writes an entry, after those that could not be written before. On an error the entry is kept for the next call.
func (j *journal) append(e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j.pending = append(j.pending, append(b, '\n'))
	return j.flush()
}

func (j *journal) flush() error {
	for len(j.pending) > 0 {
		line := j.pending[0]
		if j.torn {
			line = append([]byte("\n"), line...)
		}
		n, err := j.f.Write(line)
		if err != nil {
			j.torn = j.torn || n > 0
			return fmt.Errorf("write journal: %w", err)
		}
		j.torn = false
		j.pending = j.pending[1:]
	}
	return nil
}
