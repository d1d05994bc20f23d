// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestHousekeptChecksBite(t *testing.T) {
	bite(t, HousekeptChecks(), func(_ testing.TB, bug string) HousekeptGround {
		s := &memHouse{memStore: &memStore{bug: bug, runs: map[workflow.RunID]*memRun{}}, definitions: map[string][]byte{}}
		return HousekeptGround{Store: s, Restart: func() (KeptStore, error) { return s, nil }}
	}, []bitten{
		{"runs that go on are left out", "the index tells of every run"},
		{"the first end counts", "the index tells of every run"},
		{"parents are forgotten when a run ends", "the index tells of every run"},
		{"sizes are of the last save", "the index tells how much"},
		{"what others name is swept", "a sweep deletes what nobody names"},
		{"runs that are over name nothing", "a sweep deletes what nobody names"},
		{"nothing is swept", "a sweep deletes what nobody names"},
		{"what cannot be asked names nothing", "a sweep that cannot ask"},
		{"nothing is fenced", "a sweep with an older epoch"},
		{"sweep looks before it locks", "nothing is swept from under"},
	})
}

// memHouse is a memStore that keeps definitions by themselves.
type memHouse struct {
	*memStore
	definitions map[string][]byte // guarded by mu
	ends        map[workflow.RunID]workflow.Time
	last        map[workflow.RunID]int64
}

func (s *memHouse) Create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	id, err := s.memStore.Create(ctx, epoch, run)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.definitions[run.Definition.Hash] = s.keep(run.Definition.Bytes)
		if s.bug == "sweep looks before it locks" {
			s.meet(time.Second) // somebody comes, if late on a busy machine
		}
	}
	return id, err
}

func (s *memHouse) Load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	records, def, err := s.memStore.Load(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	def.Bytes = s.definitions[def.Hash]
	return records, def, err
}

func (s *memHouse) Save(ctx context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	err := s.memStore.Save(ctx, epoch, id, records, done)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends, s.last = map[workflow.RunID]workflow.Time{}, map[workflow.RunID]int64{}
	}
	for _, r := range records {
		s.last[id] += int64(len(r.Value))
		if end := scheduler.EndOf(r.Value); r.Key == scheduler.HeadKey && end != 0 && s.ends[id] == 0 {
			s.ends[id] = end
		}
	}
	return err
}

func (s *memHouse) Index(context.Context) ([]scheduler.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var index []scheduler.Stored
	for id, r := range s.runs {
		out := scheduler.Stored{ID: id, Parent: r.Parent, Done: r.done}
		if r.done {
			out.EndedAt = scheduler.EndOf(r.records[scheduler.HeadKey])
			for _, value := range r.records {
				out.Bytes += int64(len(value))
			}
		}
		switch {
		case s.bug == "runs that go on are left out" && !r.done:
			continue
		case s.bug == "the first end counts" && r.done:
			out.EndedAt = s.ends[id]
		case s.bug == "sizes are of the last save":
			out.Bytes = s.last[id]
		}
		index = append(index, out)
	}
	return index, nil
}

func (s *memHouse) Sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (swept int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced(nil, epoch) {
		return 0, false, scheduler.ErrFenced
	}
	hashes, err := named(ctx)
	if err != nil && s.bug != "what cannot be asked names nothing" {
		return 0, false, err
	}
	used := map[string]bool{}
	for _, hash := range hashes {
		used[hash] = s.bug != "what others name is swept"
	}
	for _, r := range s.runs {
		used[r.Definition.Hash] = !r.done || s.bug != "runs that are over name nothing"
	}
	if s.bug == "sweep looks before it locks" {
		s.meet(time.Second) // somebody comes, if late on a busy machine
	}
	for hash := range s.definitions {
		if !used[hash] && s.bug != "nothing is swept" {
			delete(s.definitions, hash)
			swept++
		}
	}
	s.passed()
	return swept, false, nil
}
