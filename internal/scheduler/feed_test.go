// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func anyNews(*News) bool { return true }

// heard reads news as they come, as text, until ctx ends.
func heard(ctx context.Context, s *Scheduler, at NewsPosition) (out []string, last NewsPosition, err error) {
	for ctx.Err() == nil {
		list, next, missed, err := s.News(ctx, at, anyNews, 2)
		if err != nil {
			return out, at, err
		}
		if missed {
			out = append(out, "missed")
		}
		for _, n := range list {
			text := strings.TrimSpace(fmt.Sprintf("%s %s", n.Task, n.Status))
			if n.Attempt > 0 {
				text += fmt.Sprint(" ", n.Attempt)
			}
			out = append(out, text)
		}
		at = next
	}
	return out, at, nil
}

func TestNewsTellWhatIsSavedInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		synctest.Wait()
		_, at, missed, err := p.s.News(p.ctx, NewsPosition{}, anyNews, 1)
		if err != nil || missed || at.Epoch != p.s.Epoch() {
			t.Fatalf("at %+v, missed %t, %v", at, missed, err)
		}
		id := p.submit(chain(2))
		succeeded(t, p.wait(id))
		ctx, cancel := context.WithTimeout(p.ctx, time.Second)
		defer cancel()
		got, _, err := heard(ctx, p.s, at)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"queued", "running", "t0 starting 1", "t0 succeeded 1", "t1 starting 1", "t1 succeeded 1", "succeeded"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("news (-want +got):\n%s", d)
		}
		gracefully(t, p)
		if _, _, _, err := p.s.News(t.Context(), at, anyNews, 1); !errors.Is(err, ErrNotLeading) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestNewsOfAnotherLeaderAreMissedAndItsRunsAreNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first := newProcess(t, w)
		first.exec.hold = func(engine.Start) bool { return true }
		first.launch()
		id := first.submit(chain(1))
		synctest.Wait()
		_, at, _, err := first.s.News(first.ctx, NewsPosition{}, anyNews, 1)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, _, err := heard(t.Context(), first.s, at)
			ended <- err
		}()
		synctest.Wait()
		gracefully(t, first)
		pass(time.Second)
		if err := <-ended; !errors.Is(err, ErrNotLeading) {
			t.Errorf("who waited for the first leader: %v", err)
		}
		second := newProcess(t, w).launch()
		synctest.Wait()
		second.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		succeeded(t, second.wait(id))
		ctx, cancel := context.WithTimeout(second.ctx, time.Second)
		defer cancel()
		got, now, err := heard(ctx, second.s, at)
		if d := cmp.Diff([]string{"missed"}, got); d != "" || err != nil || now.Epoch <= at.Epoch || now.Index <= at.Index {
			t.Errorf("at %+v after %+v, %v (-want +got):\n%s", now, at, err, d)
		}
		gracefully(t, second)
	})
}

func TestWhoIsTooFarBehindHasMissedSomething(t *testing.T) {
	over := make(chan struct{})
	f := newFeed(7, newClock(time.Now, nil), over)
	first := f.newest
	for i := range keptNews + 5 {
		f.add(News{Task: fmt.Sprint(i), Reason: strings.Repeat("ü", newsReason)})
	}
	n := 0
	count := func(*News) bool { n++; return false }
	if !f.look(first, count) || !f.look(f.lost-indexStep, count) || !f.look(f.newest+indexStep, count) || n > 0 {
		t.Errorf("%d of the news are told to whom has missed some", n)
	}
	if f.look(f.lost, count) || n != keptNews {
		t.Errorf("%d are kept, want %d", n, keptNews)
	}
	if f.look(f.lost+1, count); n != keptNews {
		t.Error("an index of another epoch is taken for one of this")
	}
	last := f.at(keptNews - 1)
	if last.Task != fmt.Sprint(keptNews+4) || len(last.Reason) > newsReason+3 || !strings.HasSuffix(last.Reason, "ü…") {
		t.Errorf("the last is %+v", last)
	}
	if before := f.at(keptNews - 2); before.Index >= last.Index || last.Index%indexStep != 7 {
		t.Errorf("indexes %d and %d", before.Index, last.Index)
	}
	f.close()
}

// Many readers are told together, not one by one and not of every single thing; nobody is forgotten.
func TestManyReadersOfAListAreWokenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		synctest.Wait()
		index, err := p.s.ListChanges(p.ctx, 0, anyNews)
		if err != nil || index == 0 {
			t.Fatalf("index %d, %v", index, err)
		}
		const readers = 1000
		var wakings, others atomic.Int64
		done := make(chan error, 2*readers)
		for range readers {
			go func() {
				at := index
				for {
					next, err := p.s.ListChanges(p.ctx, at, func(n *News) bool { return n.Workflow == "wide" })
					if next == at || err != nil {
						done <- err
						return
					}
					at = next
					wakings.Add(1)
				}
			}()
			go func() {
				_, err := p.s.ListChanges(p.ctx, index, func(n *News) bool {
					others.Add(1)
					return n.Workflow == "another"
				})
				done <- err
			}()
		}
		synctest.Wait()
		began := time.Now()
		succeeded(t, p.wait(p.submit(definition("wide", times(task("t"), 30)))))
		pass(time.Second)
		tellings := int64((time.Since(began))/showEvery) + 2
		if n := wakings.Load(); n < readers || n > tellings*readers {
			t.Errorf("%d wakings of %d readers, want one for each at least and %d at most", n, readers, tellings)
		}
		if others.Load() == 0 {
			t.Error("nobody has looked at what is for others")
		}
		p.cancel()
		for range 2 * readers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestAListWithoutALeaderDoesNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		s, err := New(p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range []uint64{0, 12345} {
			if now, err := s.ListChanges(t.Context(), index, anyNews); now != listAtRest || err != nil {
				t.Errorf("index %d, %v", now, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if now, err := s.ListChanges(ctx, listAtRest, anyNews); now != listAtRest || err != nil || ctx.Err() == nil {
			t.Errorf("index %d, %v before the time is over", now, err)
		}
		waits := make(chan uint64)
		go func() {
			now, err := s.ListChanges(t.Context(), listAtRest, anyNews)
			if err != nil {
				t.Error(err)
			}
			waits <- now
		}()
		synctest.Wait()
		go func() { p.ended <- s.Run(p.ctx) }()
		if now := <-waits; now == listAtRest {
			t.Error("the index is the same when somebody leads")
		}
		gracefully(t, p)
	})
}
