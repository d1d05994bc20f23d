// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// audited lists what the audit holds, below its prefix.
func audited(t *testing.T, s *Store) (keys []string) {
	t.Helper()
	d, err := s.data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.client.names(t.Context(), d.auditOf(""), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		keys = append(keys, strings.TrimPrefix(name, d.auditOf("")))
	}
	return keys
}

func TestAgentTheAuditIsKeptByDayAndForNinetyDays(t *testing.T) {
	s, _ := leading(t, testConfig(t))
	a := NewAudit(s)
	note := func(a *Audit, at time.Time, id string) {
		t.Helper()
		if err := a.Note(t.Context(), at, id, []byte("record "+id)); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Date(2026, 11, 28, 23, 59, 59, 0, time.UTC)
	note(a, first, "1")
	note(a, first.Add(time.Second), "2")
	note(a, first, "1") // its outcome, after midnight
	want := []string{"2026-11-28/1", "2026-11-29/2"}
	if got := audited(t, s); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	note(a, first.AddDate(0, 0, 90), "3")
	note(a, first.AddDate(0, 0, 91), "4")
	want = []string{"2026-11-29/2", "2027-02-26/3", "2027-02-27/4"}
	if got := audited(t, s); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	note(NewAudit(s), first.AddDate(0, 0, 92), "5") // of a server that leads since
	want = []string{"2027-02-26/3", "2027-02-27/4", "2027-02-28/5"}
	if got := audited(t, s); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestAgentTheAuditOfADayIsBounded(t *testing.T) {
	s, _ := leading(t, testConfig(t))
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	a := NewAudit(s)
	const writers = 50
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := range auditPerDay / writers {
				err = errors.Join(err, a.Note(t.Context(), at, fmt.Sprintf("%d-%d", w, i), []byte("x")))
			}
			failed <- err
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	for _, next := range []*Audit{a, NewAudit(s)} {
		if err := next.Note(t.Context(), at, "one more", []byte("x")); err != nil {
			t.Errorf("a full day is no reason to refuse: %v", err)
		}
	}
	if err := a.Note(t.Context(), at, "0-0", []byte("outcome")); err != nil {
		t.Error(err)
	}
	got := audited(t, s)
	if len(got) != auditPerDay || slices.Contains(got, "2026-11-28/one more") {
		t.Errorf("%d records are kept, want %d", len(got), auditPerDay)
	}
	records, err := a.Day(t.Context(), at)
	if err != nil || len(records) != auditPerDay || string(records[0]) != "outcome" || string(records[1]) != "x" {
		t.Errorf("the day is read as %d records, the first %q, %v", len(records), records[:min(1, len(records))], err)
	}
	if records, err := a.Day(t.Context(), at.AddDate(0, 0, 1)); err != nil || len(records) > 0 {
		t.Errorf("the next day is read as %d records, %v", len(records), err)
	}
}

func TestAgentOnlyTheLeaderKeepsAnAudit(t *testing.T) {
	s := NewStore(newElector(t, testConfig(t)))
	if err := NewAudit(s).Note(t.Context(), time.Now(), "1", nil); !errors.Is(err, scheduler.ErrFenced) {
		t.Errorf("got %v, want %v", err, scheduler.ErrFenced)
	}
	led, epoch := leading(t, testConfig(t))
	a := NewAudit(led)
	if err := led.elector.Release(t.Context(), scheduler.Leadership{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := a.Note(t.Context(), time.Now(), "1", nil); !errors.Is(err, scheduler.ErrFenced) {
		t.Errorf("after the leadership: %v, want %v", err, scheduler.ErrFenced)
	}
}
