// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"
)

// Moved are names of regions and data centres that have become others: what was made for the one goes to the other. A run is made
// for good, with the names that its files had; after a move to other machines they may be of what is no more.
type Moved map[string]string

// ParseMoved reads pairs like north=south.
func ParseMoved(pairs []string) (Moved, error) {
	m := Moved{}
	for _, pair := range pairs {
		from, to, found := strings.Cut(pair, "=")
		if !found || from == "" || to == "" {
			return nil, fmt.Errorf("%q: want an old name and a new one, as in north=south", pair)
		}
		if other, twice := m[from]; twice && other != to {
			return nil, fmt.Errorf("%q: %s has become %s already", pair, from, other)
		}
		m[from] = to
	}
	for from, to := range m {
		if further, on := m[to]; on && further != to {
			return nil, fmt.Errorf("%s has become %s, and that %s: name for each what it is in the end", from, to, further)
		}
	}
	return m, nil
}

// now is the name that something has now.
func (m Moved) now(name string) string {
	if to, moved := m[name]; moved {
		return to
	}
	return name
}

// job gives a job the names of now.
func (m Moved) job(job *nomadapi.Job) {
	if job.Region != nil {
		*job.Region = m.now(*job.Region)
	}
	for i, name := range job.Datacenters {
		job.Datacenters[i] = m.now(name)
	}
}
