// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"sync"
	"time"
)

// formatEvery is how often the leader asks which servers there are: a server that is upgraded takes longer to come back.
const formatEvery = 10 * time.Second

// formats knows what is to be written: what the oldest of the servers that share the store can read.
type formats struct {
	mu    sync.Mutex // guards what follows
	write int        // 0: not known yet
	asked time.Time
}

// format is the version to write. A server reads its own and the one before, so that while not all are upgraded the newer ones
// write as the older ones do. Where it cannot be asked who there is, what was known last stands, or the older version.
func (s *Store) format(ctx context.Context) int {
	f := &s.formats
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked) < formatEvery {
		return f.write
	}
	f.asked = time.Now()
	list, err := s.client.members(ctx, s.keys.prefix)
	if err != nil {
		s.elector.log.Warn("the versions of the other servers are not known", "error", err)
		if f.write == 0 {
			f.write = oldestFormat
		}
		return f.write
	}
	now := writable(list)
	if f.write != 0 && now != f.write {
		s.elector.log.Info("the servers can all read another format; it is written from now on", "format", now, "before", f.write)
	}
	f.write = now
	return f.write
}

// oldestFormat is the oldest version that this Cairn reads and writes.
const oldestFormat = max(entryVersion-1, 1)

// writable is the newest version that every one of the servers reads. A member that does not say is of the first.
func writable(list []Member) int {
	newest := entryVersion
	for _, m := range list {
		newest = min(newest, max(m.Format, oldestFormat))
	}
	return newest
}
