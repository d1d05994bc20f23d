// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// limited is a workflow of one task that lets so many runs go at once.
func limited(max int, onLimit workflow.OnLimit) *workflow.Definition {
	def := definition("limited", task("work"))
	def.Hash = fmt.Sprintf("sha256:limited %d %s", max, onLimit)
	def.Concurrency = &workflow.Concurrency{MaxRuns: max, OnLimit: onLimit}
	return def
}

// several submits a definition so many times.
func (p *process) several(n int, def *workflow.Definition) []workflow.RunID {
	p.t.Helper()
	var ids []workflow.RunID
	for range n {
		pass(time.Millisecond) // so that the order is one
		ids = append(ids, p.submit(def))
	}
	return ids
}

// finish ends the task of a limited run.
func (p *process) finish(id workflow.RunID, code int) {
	p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(code))
}

func TestRunsQueueInTheOrderInWhichTheyWereMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := held(t, w)
		ids := p.several(5, limited(2, workflow.OnLimitQueue))
		p.wants(workflow.RunRunning, ids[:2]...)
		p.wants(workflow.RunQueued, ids[2:]...)
		if got, want := p.s.Notice(ids[4]), fmt.Sprintf("2 runs go on of limited, and max_runs is 2: %s, %s", ids[0], ids[1]); !strings.Contains(got, want) {
			t.Errorf("the notice is %q, want %q", got, want)
		}
		p.finish(ids[1], 0)
		p.wants(workflow.RunRunning, ids[0], ids[2])
		p.wants(workflow.RunQueued, ids[3:]...)

		// A paused run holds its place; the stop of a queued one frees nothing.
		p.verb(ids[0], engine.Pause)
		p.verb(ids[3], engine.Stop)
		p.wants(workflow.RunCancelled, ids[3])
		p.wants(workflow.RunQueued, ids[4])

		// Other workflows and other namespaces do not count.
		other := limited(2, workflow.OnLimitQueue)
		other.Name, other.Hash = "other", "sha256:other"
		p.wants(workflow.RunRunning, p.submit(other))
		elsewhere, err := p.s.Submit(p.ctx, Submission{Definition: limited(2, workflow.OnLimitQueue), Namespace: "elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		p.wants(workflow.RunRunning, elsewhere)

		p.finish(ids[2], 1)
		p.wants(workflow.RunRunning, ids[4])
		if got := p.s.Notice(ids[4]); got != "" {
			t.Errorf("the notice of a run that goes on is %q", got)
		}

		// A retry waits like a new run.
		p.verb(ids[2], engine.Retry)
		p.wants(workflow.RunQueued, ids[2])
		p.finish(ids[4], 0)
		p.wants(workflow.RunRunning, ids[2])
		p.cancel()
	})
}

func TestARunTooManyIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := held(t, w)
		ids := p.several(2, limited(1, workflow.OnLimitSkip))
		p.wants(workflow.RunRunning, ids[0])
		p.wants(workflow.RunSkipped, ids[1])
		if head := p.wait(ids[1]); !strings.Contains(head.Reason, string(ids[0])) {
			t.Errorf("the reason is %q, want it to name run %s", head.Reason, ids[0])
		}
		// A child run is skipped too, and its task with it.
		parent := p.submit(with(definition("outer", starts("sub", "limited")), limited(1, workflow.OnLimitSkip)))
		succeeded(t, p.wait(parent))
		p.see(parent, func(_ *engine.Machine, s *engine.State) {
			if in := s.Instances[0][0]; in.Status != workflow.Skipped {
				t.Errorf("the task is %s, want skipped", in.Status)
			}
		})
		p.finish(ids[0], 1)
		p.wait(ids[0])
		third := p.submit(limited(1, workflow.OnLimitSkip))
		p.wants(workflow.RunRunning, third)
		// A retry waits where a new run would be skipped.
		p.verb(ids[0], engine.Retry)
		p.wants(workflow.RunQueued, ids[0])
		p.finish(third, 0)
		p.wants(workflow.RunRunning, ids[0])
		p.cancel()
	})
}

func TestTheNewestRunTakesThePlaceOfTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(s engine.Start) bool { return true }
		killing := make(chan struct{})
		p.exec.onKill = func(engine.Start) error {
			<-killing // it takes its time to end
			return nil
		}
		p.launch()
		ids := p.several(2, limited(2, workflow.OnLimitCancelRunning))
		p.wants(workflow.RunRunning, ids...)
		ids = append(ids, p.several(2, limited(2, workflow.OnLimitCancelRunning))...)
		p.wants(workflow.RunStopping, ids[:2]...)
		p.wants(workflow.RunQueued, ids[2:]...) // until the others have ended
		ids = append(ids, p.submit(limited(2, workflow.OnLimitCancelRunning)))
		p.wants(workflow.RunCancelled, ids[2]) // it is the oldest now, and never began
		close(killing)
		p.wants(workflow.RunCancelled, ids[:3]...)
		p.wants(workflow.RunRunning, ids[3:]...)
		p.see(ids[0], func(_ *engine.Machine, s *engine.State) {
			if !strings.Contains(s.Head.Reason, string(ids[2])) || s.Head.Verbs[0].By != "cairn" {
				t.Errorf("stopped with %q by %s, want it to name run %s", s.Head.Reason, s.Head.Verbs[0].By, ids[2])
			}
		})
		p.cancel()
	})
}

// A run that somebody stops already makes room by itself: nobody else is stopped for it.
func TestARunThatIsStoppingAlreadyMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(s engine.Start) bool { return true }
		killing := make(chan struct{})
		p.exec.onKill = func(engine.Start) error {
			<-killing
			return nil
		}
		p.launch()
		ids := p.several(2, limited(2, workflow.OnLimitCancelRunning))
		synctest.Wait()
		p.verb(ids[1], engine.Stop)
		ids = append(ids, p.submit(limited(2, workflow.OnLimitCancelRunning)))
		p.wants(workflow.RunRunning, ids[0])
		p.wants(workflow.RunQueued, ids[2])
		close(killing)
		p.wants(workflow.RunRunning, ids[0], ids[2])
		p.cancel()
	})
}

// watchers counts the runs of one workflow that are on the worker at once.
type watchers struct {
	mu       sync.Mutex
	on       map[workflow.RunID]bool
	most     int
	over     []workflow.RunID // in the order in which they began
	finished map[workflow.RunID]bool
}

// Leaders come and go while runs queue, end and are retried: there are never more of them than may be, they begin in their
// order, and in the end all of them have run.
func TestTheLimitHoldsOverTakeovers(t *testing.T) {
	for seed := range uint64(60) {
		limitOverTakeovers(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func limitOverTakeovers(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 3))
		limit := 1 + random.IntN(3)
		w := newWorld()
		on := &watchers{on: map[workflow.RunID]bool{}, finished: map[workflow.RunID]bool{}}
		var ids []workflow.RunID
		for life := 0; len(on.finished) < 12; life++ {
			if life > 40 {
				t.Fatalf("only %d of 12 runs have ended after %d lives", len(on.finished), life)
			}
			p := newProcess(t, w)
			p.exec.hold = func(engine.Start) bool { return true }
			p.exec.onStart = func(s engine.Start) error {
				on.begin(s.Run)
				return nil
			}
			p.launch()
			for len(ids) < 12 && random.IntN(3) > 0 {
				ids = append(ids, p.several(1, limited(limit, workflow.OnLimitQueue))...)
			}
			pass(time.Second)
			synctest.Wait()
			for range random.IntN(3) {
				if id, ok := on.any(random); ok {
					on.end(id)
					p.finish(id, 0)
				}
				if random.IntN(2) == 0 {
					synctest.Wait()
				}
			}
			if random.IntN(2) == 0 {
				p.crash()
				<-p.ended
			} else {
				p.end()
			}
		}
		if on.most > limit {
			t.Errorf("%d runs were on the worker at once, max_runs is %d", on.most, limit)
		}
		// With one place the order is strict; with more, two that begin together may start their tasks either way round.
		if limit == 1 && !slices.Equal(on.over, ids) {
			t.Errorf("they began as %v, want %v", on.over, ids)
		}
	})
}

func (w *watchers) begin(id workflow.RunID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished[id] {
		return // a start that comes again after the end
	}
	if !w.on[id] {
		w.on[id] = true
		w.over = append(w.over, id)
	}
	w.most = max(w.most, len(w.on))
}

func (w *watchers) end(id workflow.RunID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.on, id)
	w.finished[id] = true
}

func (w *watchers) any(random *rand.Rand) (workflow.RunID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []workflow.RunID
	for id := range w.on {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return "", false
	}
	slices.Sort(ids)
	return ids[random.IntN(len(ids))], true
}

// A queued run that cannot be loaded keeps nobody from beginning, and takes its turn when it can be.
func TestAQueuedRunThatCannotBeLoadedIsPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := held(t, w)
		ids := p.several(3, limited(1, workflow.OnLimitQueue))
		p.wants(workflow.RunQueued, ids[1:]...)
		gracefully(t, p)
		w.mu.Lock()
		input := w.runs[ids[1]].records[engine.InputKey]
		w.runs[ids[1]].records[engine.InputKey] = []byte("damaged")
		w.mu.Unlock()
		next := held(t, w)
		pass(time.Minute)
		next.exec.finish(workflow.MakeAttemptID(ids[0], 0, 0, 1), exited(0))
		next.wants(workflow.RunRunning, ids[2])
		w.mu.Lock()
		w.runs[ids[1]].records[engine.InputKey] = input
		w.mu.Unlock()
		pass(time.Minute)
		next.wants(workflow.RunQueued, ids[1])
		next.finish(ids[2], 0)
		next.wants(workflow.RunRunning, ids[1])
		next.cancel()
	})
}
