// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestStoreChecksBite(t *testing.T) {
	bite(t, StoreChecks(), func(_ testing.TB, bug string) StoreGround {
		s := &memStore{bug: bug, runs: map[workflow.RunID]*memRun{}, cluster: "01234567-89ab-4cde-8f01-23456789abcd"}
		return StoreGround{Store: s, Restart: func() (scheduler.Store, error) {
			s.restarted()
			return s, nil
		}}
	}, []bitten{
		{"records are loaded unsorted", "a created run loads"},
		{"an unknown run is created by a save", "an unknown run"},
		{"a second create overwrites", "a run ID is taken once"},
		{"idempotency keys are forgotten", "an idempotency key gives"},
		{"a refused create leaves the run", "a refused create"},
		{"deleted records stay", "save replaces"},
		{"nothing is fenced", "a save with an older epoch"},
		{"the fence is forgotten in a restart", "the fence holds"},
		{"each run has its own fence", "every kind of write"},
		{"an empty save is not written", "a save without records"},
		{"the last save is lost in a restart", "everything survives"},
		{"values are cut at 64 KiB", "large values"},
		{"list is oldest first", "list shows"},
		{"children are listed like runs", "list hides child runs"},
		{"a page begins with the run that the last one ended with", "list shows heads, newest first, and filters"},
		{"one label of several is enough", "list shows heads, newest first, and filters"},
		{"the limit is ignored", "list shows heads, newest first, and filters"},
		{"parents are forgotten when a run ends", "list hides child runs"},
		{"active runs can be deleted", "only a run that is done"},
		{"done is for ever", "a done run"},
		{"every hundredth save is dropped", "concurrent saves"},
		{"create looks before it locks", "concurrent creates"},
		{"a save is written piece by piece", "a reader sees"},
		{"the cluster's ID is drawn again in a restart", "the cluster's UUID"},
		{"values are kept by reference", "values do not change"},
		{"runs that load together are as they were created", "many runs load at once"},
	})
}

// memStore is a store in memory, sound unless bug names one of its bugs.
type memStore struct {
	bug string

	// mu guards what follows.
	mu      sync.Mutex
	runs    map[workflow.RunID]*memRun
	order   []workflow.RunID
	epoch   uint64
	saves   int
	cluster string
	undo    func() // of the last save
	met     chan struct{}
}

// meet lets another call come between, for at most so long. The caller holds mu.
func (s *memStore) meet(most time.Duration) {
	s.passed()
	met := s.met
	s.mu.Unlock()
	select {
	case <-met:
	case <-time.After(most):
	}
	s.mu.Lock()
}

// passed ends the waiting of whoever meets. The caller holds mu.
func (s *memStore) passed() {
	if s.met != nil {
		close(s.met)
	}
	s.met = make(chan struct{})
}

type memRun struct {
	scheduler.NewRun
	records map[string][]byte
	epoch   uint64
	done    bool
}

func (s *memStore) restarted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.bug {
	case "the fence is forgotten in a restart":
		s.epoch = 0
	case "the last save is lost in a restart":
		if s.undo != nil {
			s.undo()
		}
	case "the cluster's ID is drawn again in a restart":
		s.cluster = strings.Replace(s.cluster, "0", "1", 1)
	}
}

func (s *memStore) fenced(r *memRun, epoch uint64) bool {
	last := &s.epoch
	if s.bug == "each run has its own fence" && r != nil {
		last = &r.epoch
	}
	if epoch < *last && s.bug != "nothing is fenced" {
		return true
	}
	*last = epoch
	return false
}

func (s *memStore) keep(v []byte) []byte {
	if s.bug == "values are kept by reference" {
		return v
	}
	if s.bug == "values are cut at 64 KiB" && len(v) > 64<<10 {
		v = v[:64<<10]
	}
	return append([]byte{}, v...)
}

func (s *memStore) Create(_ context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch < s.epoch && s.bug != "nothing is fenced" {
		return "", scheduler.ErrFenced
	}
	if s.runs[run.ID] != nil && s.bug != "a second create overwrites" {
		return run.ID, scheduler.ErrExists
	}
	taken := workflow.RunID("")
	for id, r := range s.runs {
		if run.IdempotencyKey != "" && r.IdempotencyKey == run.IdempotencyKey && r.Workflow == run.Workflow && r.Namespace == run.Namespace {
			taken = id
		}
	}
	if s.bug == "create looks before it locks" {
		s.meet(50 * time.Millisecond)
	}
	if taken != "" && s.bug != "idempotency keys are forgotten" && s.bug != "a refused create leaves the run" {
		return taken, scheduler.ErrExists
	}
	s.epoch = epoch
	r := &memRun{NewRun: run, records: map[string][]byte{}, epoch: epoch}
	r.Definition.Bytes = s.keep(run.Definition.Bytes)
	for _, rec := range run.Records {
		r.records[rec.Key] = s.keep(rec.Value)
	}
	s.runs[run.ID] = r
	s.order = append(s.order, run.ID)
	if taken != "" && s.bug == "a refused create leaves the run" {
		return taken, scheduler.ErrExists
	}
	return run.ID, nil
}

func (s *memStore) Load(_ context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.passed()
	r := s.runs[id]
	if r == nil {
		return nil, scheduler.Definition{}, scheduler.ErrNotFound
	}
	var out []scheduler.Record
	for k, v := range r.records {
		out = append(out, scheduler.Record{Key: k, Value: s.keep(v)})
	}
	slices.SortFunc(out, func(a, b scheduler.Record) int { return strings.Compare(a.Key, b.Key) })
	if s.bug == "records are loaded unsorted" {
		slices.Reverse(out)
	}
	return out, scheduler.Definition{Hash: r.Definition.Hash, Bytes: s.keep(r.Definition.Bytes)}, nil
}

func (s *memStore) LoadAll(ctx context.Context, ids []workflow.RunID) (map[workflow.RunID]scheduler.Loaded, error) {
	loaded := map[workflow.RunID]scheduler.Loaded{}
	for _, id := range ids {
		records, def, err := s.Load(ctx, id)
		if err != nil {
			continue
		}
		if s.bug == "runs that load together are as they were created" {
			records = s.runs[id].Records
		}
		loaded[id] = scheduler.Loaded{Records: records, Definition: def}
	}
	return loaded, nil
}

func (s *memStore) Save(_ context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[id]
	if r == nil && s.bug == "an unknown run is created by a save" {
		r = &memRun{records: map[string][]byte{}}
		s.runs[id] = r
	}
	if s.bug == "an empty save is not written" && len(records) == 0 {
		return nil
	}
	if s.fenced(r, epoch) {
		return scheduler.ErrFenced
	}
	if r == nil {
		return scheduler.ErrNotFound
	}
	if s.bug == "parents are forgotten when a run ends" && done {
		r.Parent = ""
	}
	if s.saves++; s.bug == "every hundredth save is dropped" && s.saves%100 == 0 {
		return nil
	}
	before := make(map[string][]byte)
	for k, v := range r.records {
		before[k] = v
	}
	s.undo = func() { r.records = before }
	for _, rec := range records {
		if rec.Value == nil && s.bug != "deleted records stay" {
			delete(r.records, rec.Key)
		} else if rec.Value != nil {
			r.records[rec.Key] = s.keep(rec.Value)
		}
		if s.bug == "a save is written piece by piece" {
			s.meet(50 * time.Millisecond)
		}
	}
	r.done = done || r.done && s.bug == "done is for ever"
	return nil
}

func (s *memStore) List(_ context.Context, f scheduler.Filter) ([]scheduler.Summary, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []scheduler.Summary
	for _, id := range s.order {
		r := s.runs[id]
		if r == nil {
			continue
		}
		sum := scheduler.Summary{
			ID: id, Workflow: r.Workflow, Namespace: r.Namespace, Parent: r.Parent, Labels: r.Labels, CreatedAt: r.CreatedAt, Done: r.done,
			Head: s.keep(r.records[scheduler.HeadKey]),
		}
		filter := f
		filter.Children = f.Children || s.bug == "children are listed like runs"
		if s.bug == "a page begins with the run that the last one ended with" && f.Before != "" {
			filter.Before = ""
			if id > f.Before {
				continue
			}
		}
		if s.bug == "one label of several is enough" && len(f.Labels) > 1 {
			filter.Labels = map[string]string{"team": f.Labels["team"]}
		}
		if filter.Matches(&sum) {
			list = append(list, sum)
		}
	}
	slices.SortFunc(list, func(a, b scheduler.Summary) int {
		if s.bug == "list is oldest first" {
			a, b = b, a
		}
		return cmp.Compare(b.ID, a.ID)
	})
	if f.Limit > 0 && s.bug != "the limit is ignored" {
		list = list[:min(len(list), f.Limit)]
	}
	return list, nil
}

func (s *memStore) Delete(_ context.Context, epoch uint64, id workflow.RunID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[id]
	switch {
	case s.fenced(r, epoch):
		return scheduler.ErrFenced
	case r == nil:
		return scheduler.ErrNotFound
	case !r.done && s.bug != "active runs can be deleted":
		return fmt.Errorf("%w: it runs", scheduler.ErrConflict)
	}
	delete(s.runs, id)
	return nil
}

func (s *memStore) Cluster(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster, nil
}
