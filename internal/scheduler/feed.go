// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// News is a change of how a run or a task stands, as it was saved.
type News struct {
	Index     uint64 // grows with each, see newsIndex
	At        workflow.Time
	Run       workflow.RunID
	Workflow  string
	Namespace string
	Parent    workflow.RunID // that started this run; empty = somebody did
	Task      string         // empty: it is about the run itself
	Status    string
	Reason    string // cut to what fits a line
	Attempt   int    // the newest of a plain task; 0 = none yet, or it is none
}

// NewsPosition is a place among the news of a leadership. The zero value is "now".
type NewsPosition struct{ Epoch, Index uint64 }

// ErrNotLeading: this process leads no (more) runs, so that nothing is new here.
var ErrNotLeading = errors.New("this process does not lead (any more)")

const (
	// keptNews bounds what a reader may be behind: a few minutes of a busy cluster, and about 2 MB.
	keptNews = 8192
	// newsReason bounds the reason of one of them.
	newsReason = 200
	// tellEach is added to the pause between two tellings for every reader that waits: what it takes to wake it, on one of
	// two cores.
	tellEach = 20 * time.Microsecond
)

// feed keeps the newest news of a term, and tells those who wait that there are more. It never waits for them.
type feed struct {
	epoch uint64
	clock *clock
	over  <-chan struct{} // closed at the end of the term

	mu      sync.Mutex // guards everything below
	news    []News     // a ring once it is full
	oldest  int        // in news
	lost    uint64     // the index of the newest that is not kept any more, or of the beginning
	newest  uint64     // index
	waiting int
	changed chan struct{}
	told    time.Time
	telling *time.Timer // nil unless a telling is put off
	closed  bool
}

func newFeed(epoch uint64, c *clock, over <-chan struct{}) *feed {
	began := newsIndex(c.now(), epoch)
	return &feed{epoch: epoch, clock: c, over: over, lost: began, newest: began, changed: make(chan struct{})}
}

// indexStep is the distance between two indexes of an epoch: what is below tells epochs apart, so that nobody takes the
// index of another leader, whose clock is another one, for one of this.
const indexStep = 1 << 10

// newsIndex is the index of news of an epoch at t: milliseconds in steps, so that it fits the exact integers of JSON and
// grows from one leader to the next.
func newsIndex(t workflow.Time, epoch uint64) uint64 {
	return uint64(t/workflow.Time(time.Millisecond))*indexStep + epoch%indexStep
}

// add takes one in.
func (f *feed) add(n News) {
	n.At = f.clock.now()
	if len(n.Reason) > newsReason {
		n.Reason = strings.ToValidUTF8(n.Reason[:newsReason], "") + "…"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n.Index = max(f.newest+indexStep, newsIndex(n.At, f.epoch))
	f.newest = n.Index
	if len(f.news) < keptNews {
		f.news = append(f.news, n)
	} else {
		f.lost = f.news[f.oldest].Index
		f.news[f.oldest] = n
		f.oldest = (f.oldest + 1) % keptNews
	}
	if f.closed || f.telling != nil {
		return
	}
	if wait := showEvery + time.Duration(f.waiting)*tellEach - time.Since(f.told); wait > 0 {
		f.telling = time.AfterFunc(wait, f.tell)
		return
	}
	f.wake()
}

// tell wakes those who wait, after a pause.
func (f *feed) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.telling = nil
	f.wake()
}

// wake wakes those who wait. The caller holds mu.
func (f *feed) wake() {
	if f.closed {
		return
	}
	f.told = time.Now()
	close(f.changed)
	f.changed = make(chan struct{})
}

// close ends the feed, and wakes everybody a last time.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.telling != nil {
		f.telling.Stop()
	}
	f.wake()
	f.closed = true
}

// look calls read with every one of the news behind an index, oldest first, until it says that it has enough. missed: there
// were others that are not kept any more.
func (f *feed) look(after uint64, read func(*News) (enough bool)) (missed bool) {
	if after < f.lost || after > f.newest || after%indexStep != f.epoch%indexStep {
		return true
	}
	// Most readers are nearly up to date: they begin at the end.
	begin := len(f.news)
	for begin > 0 && f.at(begin-1).Index > after {
		begin--
	}
	for i := begin; i < len(f.news); i++ {
		if read(f.at(i)) {
			break
		}
	}
	return false
}

// at is one of the news by its age, 0 being the oldest. The caller holds mu.
func (f *feed) at(i int) *News { return &f.news[(f.oldest+i)%len(f.news)] }

// News returns the news behind a position that match, most of them at once, oldest first, and the position to go on from.
// Without any it waits for them as long as ctx lasts. missed says that there may have been others: the position is of
// another leadership, or too old; then there are none, and the one to go on from is now. ErrNotLeading.
func (s *Scheduler) News(
	ctx context.Context, after NewsPosition, match func(*News) bool, most int,
) (list []News, next NewsPosition, missed bool, err error) {
	t, _ := s.current()
	if t == nil {
		return nil, after, false, ErrNotLeading
	}
	f := t.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if after == (NewsPosition{}) {
		after = NewsPosition{f.epoch, f.newest}
		return nil, after, false, nil
	}
	for {
		next = NewsPosition{f.epoch, f.newest}
		missed = after.Epoch != f.epoch || f.look(after.Index, func(n *News) bool {
			if match(n) {
				list = append(list, *n)
			}
			if len(list) == most {
				next.Index = n.Index
			}
			return len(list) == most
		})
		if missed || len(list) > 0 {
			return list, next, missed, nil
		}
		after = next
		if t.ctx.Err() != nil {
			return nil, next, false, ErrNotLeading
		}
		if !f.wait(ctx) {
			return nil, next, false, nil
		}
	}
}

// wait waits for more, without the lock that the caller holds. It is false when ctx has ended.
func (f *feed) wait(ctx context.Context) bool {
	changed := f.changed
	f.waiting++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.waiting--
	}()
	select {
	case <-changed:
		return true
	case <-f.over:
		return true
	case <-ctx.Done():
		return false
	}
}

// listAtRest is the index of a list that nobody changes, as nobody leads here.
const listAtRest = 1

// ListChanges waits until one of the news behind an index matches, or ctx ends, and returns the index of the list then: never
// newer than what is read next. No index is 0.
func (s *Scheduler) ListChanges(ctx context.Context, index uint64, match func(*News) bool) (uint64, error) {
	for {
		t, changed := s.current()
		if t == nil {
			if index != listAtRest {
				return listAtRest, nil
			}
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return index, nil
			}
		}
		now, again := t.feed.changedSince(ctx, index, match)
		if !again {
			return now, nil
		}
		if t.ctx.Err() != nil {
			select {
			case <-changed:
			case <-ctx.Done():
				return now, nil
			}
		}
		index = now
	}
}

// changedSince returns the newest index once one of the news behind the one given matches. again: nothing has, and the feed
// was heard of.
func (f *feed) changedSince(ctx context.Context, index uint64, match func(*News) bool) (now uint64, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := false
	if f.look(index, func(n *News) bool {
		found = match(n)
		return found
	}) || found {
		return f.newest, false
	}
	// What did not match is looked at no more, but the caller's index stands for it as well.
	newest := f.newest
	return newest, f.wait(ctx)
}

// toldNews is what the news have said of a run.
type toldNews struct {
	known      bool
	status     workflow.RunStatus
	generation int
	tasks      []toldTask
}

type toldTask struct {
	status  workflow.Status
	attempt int
}

// tell says what has changed since the last time. A run that was loaded begins without: whoever reads lists knows it.
func (r *run) tell(news bool) {
	h, in, def := &r.state.Head, &r.state.Input, r.machine.Definition()
	parent, _, _, _, err := in.Parent.Parse()
	if err != nil {
		parent = "" // there is none
	}
	base := News{Run: r.id, Workflow: in.Workflow, Namespace: in.Namespace, Parent: parent}
	moved := !r.news.known || r.news.status != h.Status || r.news.generation != h.Generation
	r.news.known, r.news.status, r.news.generation = true, h.Status, h.Generation
	itself := func(when bool) {
		if news && moved && when {
			one := base
			one.Status, one.Reason = string(h.Status), h.Reason
			r.t.feed.add(one)
		}
	}
	over := h.Status.Terminal()
	itself(!over) // a run begins before its tasks do, and ends after them
	if r.news.tasks == nil {
		r.news.tasks = make([]toldTask, len(def.Tasks))
		for n := range r.news.tasks {
			r.news.tasks[n].status = workflow.Pending
		}
	}
	for n := range def.Tasks {
		now := standingOf(r.machine, r.state, n)
		if now == r.news.tasks[n] {
			continue
		}
		r.news.tasks[n] = now
		if news {
			one := base
			one.Task, one.Status, one.Reason, one.Attempt = def.Tasks[n].Name, string(now.status), r.state.Tasks[n].Reason, now.attempt
			r.t.feed.add(one)
		}
	}
	itself(over)
}

// standingOf is how a task stands: a plain one as its only instance does.
func standingOf(m *engine.Machine, s *engine.State, n int) toldTask {
	if m.Definition().Tasks[n].Shape() != workflow.ShapePlain {
		return toldTask{status: s.Tasks[n].Status}
	}
	out := toldTask{status: m.InstanceStatus(s, n, 0)}
	if begun := s.Instances[n]; len(begun) > 0 {
		out.attempt = begun[0].Number
	}
	return out
}
