// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workers

import "time"

const (
	// Apart is how long two looks at a worker must lie apart for the second one to confirm the first.
	Apart = 2 * time.Second
	// AskAgain is how long the answer of a worker's client stands against Consul's word.
	AskAgain = 10 * time.Second
)

// Suspicions remembers from look to look which workers Consul has lost. A suspicion is confirmed when two looks, Apart from each
// other, have found it, none between them has not, and Consul's word was not withheld. The zero value remembers nothing. It is
// not safe for concurrent use.
type Suspicions struct {
	since map[string]time.Time // first found, by node ID
	heard map[string]time.Time // its client answered
}

// Look takes a look at the workers, and returns those whose loss is confirmed but for the word of their clients.
func (s *Suspicions) Look(v View, now time.Time) (confirmed []Worker) {
	since, heard := map[string]time.Time{}, map[string]time.Time{}
	for _, w := range v.Workers {
		if w.Status != Suspect {
			continue
		}
		if s.Answered(w.ID, now) {
			heard[w.ID] = s.heard[w.ID]
			continue
		}
		if v.Withheld != "" {
			continue
		}
		first, ok := s.since[w.ID]
		if !ok {
			first = now
		}
		since[w.ID] = first
		if now.Sub(first) >= Apart {
			confirmed = append(confirmed, w)
		}
	}
	s.since, s.heard = since, heard
	return confirmed
}

// Answered reports whether the client of a worker has answered so lately that there is nothing to be asked again.
func (s *Suspicions) Answered(id string, now time.Time) bool {
	at, ok := s.heard[id]
	return ok && now.Sub(at) < AskAgain
}

// Heard notes that the client of a worker has answered: the suspicion begins anew, AskAgain from now.
func (s *Suspicions) Heard(id string, now time.Time) {
	delete(s.since, id)
	if s.heard == nil {
		s.heard = map[string]time.Time{}
	}
	s.heard[id] = now
}
