// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"errors"
	"testing"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// small is a leader at a Consul that takes less at once than it does by default, through a link.
func small(t *testing.T) (*Store, *link) {
	t.Helper()
	c := testcluster.Consul(t, testcluster.ConsulConfig{Extra: "limits {\n  kv_max_value_size = 100000\n  txn_max_req_len = 100000\n}"})
	cfg := testConfig(t)
	l := newLink(t, c.Address())
	cfg.Address = l.server.URL
	s, _ := leading(t, cfg)
	return s, l
}

// sized is a write of a key of its own.
func sized(s *Store, name string, bytes int) *write {
	key := s.keys.prefix + "test/" + name
	return newWrite(key, set(key, make([]byte, bytes)))
}

// What is too large for Consul is refused alone: what shares its transaction is done.
func TestAgentWritesThatConsulRefusesAreAlone(t *testing.T) {
	s, _ := small(t)
	o := s.elector.current()
	group := []*write{sized(s, "first", 10), sized(s, "large", 120_000), sized(s, "last", 10)}
	o.commit(group) // the lane has nothing to do meanwhile
	for i, w := range group {
		<-w.done
		if refused := i == 1; errors.Is(w.err, errRefused) != refused || !refused && (w.err != nil || w.index == 0) {
			t.Errorf("write %d: %v, index %d", i, w.err, w.index)
		}
	}
	if err := o.err(); err != nil {
		t.Errorf("the office is over: %v", err)
	}
}

// A refusal says nothing of a try before it that had no answer. The leader goes, and holds nobody up.
func TestAgentARefusalAfterATryWithoutAnswerEndsTheOffice(t *testing.T) {
	s, l := small(t)
	o := s.elector.current()
	l.set(func(n int, _ string) fate {
		if n == 0 {
			return lose
		}
		return deliver
	})
	group := []*write{sized(s, "small", 10), sized(s, "large", 120_000)}
	o.commit(group)
	for i, w := range group {
		<-w.done
		if !errors.Is(w.err, scheduler.ErrFenced) {
			t.Errorf("write %d: %v", i, w.err)
		}
	}
	if o.err() == nil {
		t.Error("the office goes on")
	}
}
