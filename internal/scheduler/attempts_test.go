// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestRefusedStartIsRepeatedWithBackoffAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		var tries []time.Duration
		began := time.Now()
		p.exec.onStart = func(engine.Start) error {
			tries = append(tries, time.Since(began))
			if len(tries) < 12 {
				return &Trouble{NotStarted: true, Err: errors.New("connection refused")}
			}
			return nil
		}
		p.launch()
		id := p.submit(chain(1))
		pass(time.Second)
		var message string
		err := p.s.View(p.ctx, id, func(_ *engine.Machine, s *engine.State) error {
			message = s.Instances[0][0].Current.Message
			return nil
		})
		if err != nil || message != "connection refused" {
			t.Errorf("the attempt says %q, %v, want the executor's words", message, err)
		}
		if got := p.s.Notice(id); got != "task t0 cannot be started yet: connection refused" {
			t.Errorf("the notice says %q", got)
		}
		succeeded(t, p.wait(id))
		for i := 1; i < len(tries); i++ {
			most := min(p.cfg.Backoff.Base<<(i-1), p.cfg.Backoff.Max)
			if gap := tries[i] - tries[i-1]; gap < most/2 || gap > most {
				t.Errorf("try %d came %s after the one before, want %s to %s", i+1, gap, most/2, most)
			}
		}
		gracefully(t, p)
	})
}

func TestBreakerHoldsAdmissionOfItsNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		var broken atomic.Bool
		var starts atomic.Int32
		broken.Store(true)
		p.exec.onStart = func(s engine.Start) error {
			if s.Namespace == "default" && broken.Load() {
				starts.Add(1)
				return &Trouble{NotStarted: true, Err: errors.New("403")}
			}
			return nil
		}
		p.launch()
		first := p.submit(chain(1))
		pass(10 * time.Second)
		second := p.submit(definition("second", times(task("t"), 10)))
		other := definition("other", task("t"))
		other.Namespace = "elsewhere"
		succeeded(t, p.wait(p.submit(other)))
		before := starts.Load()
		pass(5 * time.Minute)
		if got := starts.Load() - before; got < 5 || got > 20 {
			t.Errorf("%d tries in five minutes, want those of one attempt as a probe", got)
		}
		queued := 0
		err := p.s.View(p.ctx, second, func(_ *engine.Machine, s *engine.State) error {
			for _, in := range s.Instances[0] {
				if in.Status == workflow.Queued {
					queued++
				}
			}
			return nil
		})
		if err != nil || queued != 10 {
			t.Errorf("%d instances wait for admission, %v, want all 10", queued, err)
		}
		broken.Store(false)
		succeeded(t, p.wait(first))
		succeeded(t, p.wait(second))
		gracefully(t, p)
	})
}

func TestBreakerClosesWhenNobodyIsLeftToProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		bad := definition("bad", task("t"))
		p.exec.onStart = func(s engine.Start) error {
			if s.Workflow == "bad" {
				return &Trouble{NotStarted: true, Err: errors.New("403")}
			}
			return nil
		}
		p.launch()
		first := p.submit(bad)
		pass(time.Minute)
		second := p.submit(chain(1))
		pass(time.Minute)
		if got := w.logged("start"); len(got) > 0 {
			t.Errorf("started behind an open breaker: %v", got)
		}
		if err := p.s.Verb(p.ctx, first, engine.Event{Kind: engine.Terminate}); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.wait(second))
		gracefully(t, p)
	})
}

func TestBreakerClosesWhenItsAttemptsHaveEndedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		p.exec.afterStart = func(s engine.Start) error {
			if s.Workflow == "lost" {
				return &Trouble{Err: errors.New("the answer was lost")}
			}
			return nil
		}
		p.launch()
		succeeded(t, p.wait(p.submit(definition("lost", times(task("t"), 2*breakerTroubles)))))
		head, err := p.s.Wait(within(t, time.Hour), p.submit(chain(1)))
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, head)
		gracefully(t, p)
	})
}

func TestKillReplacesTheStartThatHasNotHappened(t *testing.T) {
	for name, onStart := range map[string]func(context.Context) error{
		"a start that waits for its next try": func(context.Context) error {
			return &Trouble{Err: errors.New("time-out")}
		},
		"a start that hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return &Trouble{Err: ctx.Err()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				var starts atomic.Int32
				p.cfg.Executor = hanging{p.exec, func(ctx context.Context) error { starts.Add(1); return onStart(ctx) }}
				p.launch()
				id := p.submit(chain(1))
				pass(time.Minute)
				before := starts.Load()
				if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Stop}); err != nil {
					t.Fatal(err)
				}
				if head := p.wait(id); head.Status != workflow.RunCancelled {
					t.Errorf("got %s, want cancelled", head.Status)
				}
				pass(10 * time.Minute)
				if starts.Load() != before {
					t.Error("started again after the kill")
				}
				if d := cmp.Diff([]string{"kill 0/0/1", "settle 0/0/1"}, w.logged("start", "kill", "settle")); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
				gracefully(t, p)
			})
		})
	}
}

type hanging struct {
	*fakeExecutor
	start func(context.Context) error
}

func (h hanging) Start(ctx context.Context, _ engine.Start) error { return h.start(ctx) }

func TestKillIsRepeatedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		kills := 0
		p.exec.onKill = func(engine.Start) error {
			if kills++; kills < 4 {
				return &Trouble{Err: errors.New("500")}
			}
			return nil
		}
		p.launch()
		id := p.submit(chain(1))
		synctest.Wait()
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Terminate}); err != nil {
			t.Fatal(err)
		}
		if head := p.wait(id); head.Status != workflow.RunCancelled || kills != 4 {
			t.Errorf("got %s after %d kills, want cancelled after 4", head.Status, kills)
		}
		gracefully(t, p)
	})
}

func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		at, peak := make(chan int, 1), 0
		at <- 0
		p.exec.onStart = func(engine.Start) error {
			n := <-at + 1
			peak = max(peak, n)
			at <- n
			pass(time.Second)
			at <- <-at - 1
			return nil
		}
		p.launch()
		succeeded(t, p.wait(p.submit(definition("wide", times(task("t"), 100)))))
		if peak != p.cfg.MaxCalls {
			t.Errorf("%d calls at once, want %d", peak, p.cfg.MaxCalls)
		}
		gracefully(t, p)
	})
}
