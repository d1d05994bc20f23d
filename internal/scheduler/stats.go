// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

// Stats is what a scheduler is at. All but Leading is 0 while it does not lead.
type Stats struct {
	Leading  bool
	Epoch    uint64
	Active   int // runs that are driven
	Inflight int // attempts that have a place
	Queued   int // instances that wait for one
	Readers  int // that wait for news
}

// Stats tells what this scheduler is at.
func (s *Scheduler) Stats() Stats {
	out := Stats{Leading: s.Leading()}
	t, _ := s.current()
	if t == nil {
		return out
	}
	out.Epoch = t.epoch
	t.mu.Lock()
	out.Active = len(t.runs)
	t.mu.Unlock()
	out.Inflight, out.Queued = t.admission.size()
	t.feed.mu.Lock()
	out.Readers = t.feed.waiting
	t.feed.mu.Unlock()
	return out
}
