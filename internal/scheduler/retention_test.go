// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairnflow/cairn/internal/workflow"
)

func storedID(n int) workflow.RunID {
	return workflow.NewRunID(time.UnixMilli(1_700_000_000_000+int64(n)), [6]byte{byte(n >> 8), byte(n)})
}

const hour = workflow.Time(time.Hour)

// over is run n, which ended so many hours after the beginning, and takes a megabyte.
func over(n int, ended workflow.Time) Stored {
	return Stored{ID: storedID(n), Done: true, EndedAt: ended * hour, Bytes: 1 << 20}
}

func startedBy(s Stored, parent int) Stored {
	s.Parent = workflow.MakeAttemptID(storedID(parent), 0, 0, 1)
	return s
}

func TestWhatLeaves(t *testing.T) {
	plenty := Retention{Runs: 100, Age: 1000 * time.Hour, Bytes: 1 << 40}
	with := func(change func(*Retention)) Retention {
		r := plenty
		change(&r)
		return r
	}
	active := Stored{ID: storedID(9)}
	cut := over(8, 1)
	cut.Cut = true
	for name, c := range map[string]struct {
		limits Retention
		index  []Stored
		want   []int
		next   workflow.Time // in hours
	}{
		"nothing is stored": {limits: plenty},
		"all fit":           {limits: plenty, index: []Stored{over(1, 3), over(2, 2)}, next: 1002},
		"what goes on stays, and what is half deleted is no run": {
			limits: with(func(r *Retention) { r.Runs = 1 }), index: []Stored{active, cut, over(1, 3)}, next: 1003},
		"the newest by their end stay": {
			limits: with(func(r *Retention) { r.Runs = 2 }), index: []Stored{over(1, 9), over(2, 2), over(3, 5), over(4, 1)}, want: []int{4, 2}, next: 1005},
		"what is older leaves": {
			limits: with(func(r *Retention) { r.Age = 5 * time.Hour }), index: []Stored{over(1, 1), over(2, 5), over(3, 4)}, want: []int{1, 3}, next: 10},
		"what is too much together leaves": {
			limits: with(func(r *Retention) { r.Bytes = 2 << 20 }), index: []Stored{over(1, 1), over(2, 2), over(3, 3)}, want: []int{1}, next: 1002},
		"one that is too large by itself leaves": {
			limits: with(func(r *Retention) { r.Bytes = 1 }), index: []Stored{over(1, 1)}, want: []int{1}},
		"a child run stays with a parent that goes on": {
			limits: with(func(r *Retention) { r.Runs = 1 }), index: []Stored{over(1, 2), startedBy(over(2, 1), 9), active}, next: 1002},
		"a child run stays with a parent that stays": {
			limits: with(func(r *Retention) { r.Runs = 1 }), index: []Stored{over(1, 3), startedBy(over(2, 2), 1), over(3, 1)}, want: []int{3}, next: 1003},
		"a child run leaves after its parent": {
			limits: with(func(r *Retention) { r.Runs = 1 }),
			index:  []Stored{over(1, 9), startedBy(over(2, 2), 3), startedBy(over(3, 3), 4), over(4, 4)}, want: []int{4, 3, 2}, next: 1009},
		"a child run without a parent leaves like others": {
			limits: with(func(r *Retention) { r.Runs = 1 }), index: []Stored{over(1, 9), startedBy(over(2, 2), 7)}, want: []int{2}, next: 1009},
		"runs that are said to be each other's parents stay": {
			limits: with(func(r *Retention) { r.Runs = 1 }), index: []Stored{over(1, 9), startedBy(over(2, 2), 3), startedBy(over(3, 3), 2)}, next: 1009},
	} {
		t.Run(name, func(t *testing.T) {
			out, next := c.limits.leaving(c.index, 10*hour)
			var got, want []workflow.RunID
			for _, s := range out {
				got = append(got, s.ID)
			}
			for _, n := range c.want {
				want = append(want, storedID(n))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("leaving (-want +got):\n%s", d)
			}
			if next != 0 {
				next--
			}
			if next != c.next*hour {
				t.Errorf("the next is due at %d hours, want %d", next/hour, c.next)
			}
		})
	}
}

// Whatever is stored: what goes on never leaves, nor a child before its parent; what stays fits the bounds, but for children
// that wait for their parents; and whatever leaves is past a bound by what is newer than it.
func TestWhatLeavesIsNeverMoreThanNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index := rapid.Custom(func(t *rapid.T) []Stored {
			var index []Stored
			for n := range rapid.IntRange(0, 12).Draw(t, "runs") {
				s := Stored{ID: storedID(n), Done: rapid.IntRange(0, 3).Draw(t, "over") > 0}
				if s.Done {
					s.EndedAt, s.Bytes = workflow.Time(rapid.IntRange(0, 20).Draw(t, "ended"))*hour, int64(rapid.IntRange(0, 50).Draw(t, "bytes"))
					s.Cut = rapid.IntRange(0, 9).Draw(t, "cut") == 0
				}
				if n > 0 && rapid.Bool().Draw(t, "child") {
					s = startedBy(s, rapid.IntRange(0, n-1).Draw(t, "parent"))
				}
				index = append(index, s)
			}
			return index
		}).Draw(t, "index")
		r := Retention{
			Runs: rapid.IntRange(1, 8).Draw(t, "limit"), Age: time.Duration(rapid.IntRange(1, 20).Draw(t, "age")) * time.Hour,
			Bytes: int64(rapid.IntRange(1, 200).Draw(t, "size")),
		}
		now := 20 * hour
		before := slices.Clone(index)
		out, next := r.leaving(index, now)
		if d := cmp.Diff(before, index); d != "" {
			t.Fatalf("the index was changed:\n%s", d)
		}
		left := map[workflow.RunID]int{}
		for n, s := range out {
			left[s.ID] = n + 1
		}
		if len(left) != len(out) {
			t.Fatalf("a run leaves twice: %v", out)
		}
		stored := map[workflow.RunID]bool{}
		for _, s := range index {
			stored[s.ID] = !s.Cut
		}
		free, bytes := 0, int64(0)
		for _, s := range index {
			parent, _, _, _, err := s.Parent.Parse()
			waits := err == nil && stored[parent] && left[parent] == 0
			switch n := left[s.ID]; {
			case !s.Done || s.Cut:
				if n > 0 {
					t.Fatalf("run %s leaves, and is not over", s.ID)
				}
			case n > 0:
				if waits || err == nil && left[parent] > n {
					t.Fatalf("run %s leaves before its parent", s.ID)
				}
				newer, upTo := 0, s.Bytes
				for _, o := range index {
					if o.Done && !o.Cut && (o.EndedAt > s.EndedAt || o.EndedAt == s.EndedAt && o.ID > s.ID) {
						newer, upTo = newer+1, upTo+o.Bytes
					}
				}
				if newer < r.Runs && upTo <= r.Bytes && now.Sub(s.EndedAt) <= r.Age {
					t.Fatalf("run %s leaves, and %d newer ones with %d bytes fit", s.ID, newer, upTo)
				}
			case !waits:
				free, bytes = free+1, bytes+s.Bytes
				if now.Sub(s.EndedAt) > r.Age {
					t.Fatalf("run %s stays, and is too old", s.ID)
				}
				if next == 0 || next > s.EndedAt+workflow.Time(r.Age)+1 {
					t.Fatalf("run %s is due before %d, which is said to be the next", s.ID, next)
				}
			}
		}
		if free > r.Runs || bytes > r.Bytes {
			t.Fatalf("%d runs with %d bytes stay", free, bytes)
		}
	})
}
