// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Retention bounds the runs that are over and still stored: the newest Runs of them stay, as long as they ended within Age
// and have Bytes together at most, whichever is least.
type Retention struct {
	Runs  int
	Age   time.Duration
	Bytes int64
}

// Validate says what is out of range.
func (r Retention) Validate() error {
	if r.Runs < 1 || r.Age <= 0 || r.Bytes < 1 {
		return errors.New("retention needs at least one run, some time and some bytes")
	}
	return nil
}

// Stored is what the index of a store tells of a run.
type Stored struct {
	ID      workflow.RunID
	Parent  workflow.AttemptID // what started a child run
	Done    bool
	EndedAt workflow.Time // of a run that is done
	Bytes   int64         // that a run that is done takes up, or more or less so many
	// Cut says that a delete of the run was cut off: nobody else sees it any more, and Delete goes on with it.
	Cut bool
}

// EndOf is when the run with this head ended; 0 when it has not, or the head cannot be read.
func EndOf(head []byte) workflow.Time {
	var h engine.Head
	if err := json.Unmarshal(head, &h); err != nil || !h.Status.Terminal() {
		return 0
	}
	return h.EndedAt
}

// leaving picks the runs that are to leave the store now: those past a bound, the oldest first. A run that another one has
// started leaves after that one, never before it: as long as the other is stored it may ask how its run ended, or retry
// it. next is when the age of a run that stays will be past its bound; 0 when there is none.
func (r Retention) leaving(index []Stored, now workflow.Time) (out []Stored, next workflow.Time) {
	newest := slices.DeleteFunc(slices.Clone(index), func(s Stored) bool { return !s.Done || s.Cut })
	slices.SortFunc(newest, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(b.EndedAt, a.EndedAt), cmp.Compare(b.ID, a.ID))
	})
	kept, bytes := 0, int64(0)
	for kept < len(newest) {
		s := &newest[kept]
		bytes += s.Bytes
		if kept == r.Runs || bytes > r.Bytes || now.Sub(s.EndedAt) > r.Age {
			break
		}
		next = s.EndedAt + workflow.Time(r.Age) + 1
		kept++
	}
	l := leavers{stored: map[workflow.RunID]bool{}, due: map[workflow.RunID]*Stored{}, settled: map[workflow.RunID]bool{}}
	for n := range index {
		l.stored[index[n].ID] = !index[n].Cut
	}
	for n := range newest[kept:] {
		l.due[newest[kept+n].ID] = &newest[kept+n]
	}
	for n := len(newest) - 1; n >= kept; n-- {
		l.leave(newest[n].ID)
	}
	return l.out, next
}

// leavers puts runs that are due in the order of their leaving.
type leavers struct {
	stored  map[workflow.RunID]bool
	due     map[workflow.RunID]*Stored
	settled map[workflow.RunID]bool // whether they leave; of those that were looked at
	out     []Stored
}

// leave lets a run leave, after the one that has started it, and reports whether it does.
func (l *leavers) leave(id workflow.RunID) bool {
	if leaves, known := l.settled[id]; known {
		return leaves
	}
	s := l.due[id]
	if s == nil {
		return false
	}
	l.settled[id] = false // whatever its parents are, it is none of them
	parent, _, _, _, err := s.Parent.Parse()
	if err == nil && l.stored[parent] && !l.leave(parent) {
		return false
	}
	l.settled[id] = true
	l.out = append(l.out, *s)
	return true
}
