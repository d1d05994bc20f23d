// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// everything is a workflow that meets every fault point: a fan-out, a retry, a kill by timeout, a run that it starts, a call,
// a join below them.
func everything() *workflow.Definition {
	slow, flaky := task("slow", "first"), task("flaky", "first")
	slow.Policy.Timeout = time.Minute
	slow.Policy.AllowFailure = true
	flaky.Policy.Retry.MaxAttempts = 3
	return with(definition("everything", task("first"), times(task("wide", "first"), 4), slow, flaky,
		task("last", "wide", "slow", "flaky", "sub", "call"), starts("sub", "inner", "first"), calling("call", "GET", "first")),
		definition("inner", task("one"), task("two", "one")))
}

// behave makes the executor play its part in that workflow.
func behave(p *process) {
	p.exec.hold = func(s engine.Start) bool { return s.Task == "slow" || s.Task == "flaky" && s.Number == 1 }
	p.exec.afterStart = func(s engine.Start) error {
		if s.Task == "flaky" && s.Number == 1 {
			p.exec.finish(s.Attempt, exited(1))
		}
		return nil
	}
}

// checkLedger compares what ran with what everything() asks for.
func checkLedger(t *testing.T, w *world) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	ran := map[string]int{}
	fences := map[string]int64{}
	for _, id := range w.begun {
		s := w.attempts[id].start
		ran[s.Workflow+" "+short(id)]++
		key := fmt.Sprint(s.Workflow, s.TaskNo, s.Instance)
		if s.Fence <= fences[key] {
			t.Errorf("attempt %s has fence %d, not above %d", short(id), s.Fence, fences[key])
		}
		fences[key] = s.Fence
	}
	for _, want := range []string{
		"everything 0/0/1", "everything 1/0/1", "everything 1/1/1", "everything 1/2/1", "everything 1/3/1", "everything 2/0/1",
		"everything 3/0/1", "everything 3/0/2", "everything 4/0/1", "inner 0/0/1", "inner 1/0/1",
	} {
		if ran[want] != 1 {
			t.Errorf("attempt %s ran %d times, want once", want, ran[want])
		}
		delete(ran, want)
	}
	for id, n := range ran {
		t.Errorf("attempt %s ran %d times, want never", id, n)
	}
	if w.running != 0 {
		t.Errorf("%d attempts still run", w.running)
	}
	if len(w.runs) != 2 {
		t.Errorf("%d runs are stored, want the run and its child", len(w.runs))
	}
	if len(w.called) == 0 {
		t.Error("nobody was called")
	}
}

// crashAt returns a fault hook that kills the process the nth time the point is hit. Whoever hits it never comes back.
func crashAt(p *process, point string, n int) (hook func(string), hit func() bool) {
	var mu sync.Mutex
	left := n
	return func(at string) {
			mu.Lock()
			defer mu.Unlock()
			if at == point && left > 0 {
				if left--; left == 0 {
					p.crash()
				}
			}
		}, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return left == 0
		}
}

func TestCrashAtEveryPoint(t *testing.T) {
	for _, point := range FaultPoints() {
		hits := 0
		for n := 1; n <= 25; n++ {
			if !crashOnce(t, point, n) {
				break
			}
			hits++
		}
		if hits == 0 {
			t.Errorf("%s: never hit", point)
		}
		t.Logf("%s: hit %d times", point, hits)
	}
}

// crashOnce runs the workflow, kills the process at the nth hit of the point, and lets another one go on. It is false when
// the point was not hit so often.
func crashOnce(t *testing.T, point string, n int) (hit bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		behave(p)
		var was func() bool
		p.cfg.Fault, was = crashAt(p, point, n)
		p.launch()
		id := NewTestRunID(t)
		_, err := p.s.Submit(p.ctx, Submission{ID: id, Definition: everything()})
		if err == nil {
			_, err = p.s.Wait(p.ctx, id)
		}
		if hit = was(); err != nil && !hit {
			t.Fatalf("%s %d: %v", point, n, err)
		}
		p.cancel()
		<-p.ended
		next := newProcess(t, w)
		behave(next)
		next.launch()
		if point == FaultBeforeCreate && hit {
			if _, err := next.s.Wait(next.ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v, want no such run", point, err)
			}
		} else {
			succeeded(t, next.wait(id))
			checkLedger(t, w)
		}
		next.end()
		if t.Failed() {
			t.Logf("%s, hit %d:\n%s", point, n, strings.Join(w.logged(""), "\n"))
		}
	})
	return hit
}

// NewTestRunID makes an ID that needs no scheduler.
func NewTestRunID(t *testing.T) workflow.RunID {
	t.Helper()
	return workflow.NewRunID(time.Now(), [6]byte{1, 2, 3, 4, 5, 6})
}

// An executor and a store that lie as much as their contracts allow, under processes that die at random: every run ends, and
// the ledger shows every attempt once.
func TestAdversaries(t *testing.T) {
	for seed := range uint64(200) {
		adversary(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func adversary(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, 1))
		chance := func(percent int) bool {
			mu.Lock()
			defer mu.Unlock()
			return random.IntN(100) < percent
		}
		w := newWorld()
		id := NewTestRunID(t)
		for life := 0; ; life++ {
			faults := life < 8 // then let it come to an end
			p := newProcess(t, w)
			behave(p)
			p.exec.double = chance(30)
			after := p.exec.afterStart
			p.exec.onStart = func(engine.Start) error {
				switch {
				case !faults:
				case chance(10):
					return &Trouble{NotStarted: true, Err: errors.New("429")}
				case chance(10):
					return &Trouble{Err: errors.New("broken pipe")}
				}
				return nil
			}
			p.exec.afterStart = func(s engine.Start) error {
				err := after(s)
				if faults && chance(20) {
					return &Trouble{Err: errors.New("answer lost")}
				}
				return err
			}
			p.exec.onKill = func(engine.Start) error {
				if faults && chance(30) {
					return &Trouble{Err: errors.New("500")}
				}
				return nil
			}
			p.onSave = func(workflow.RunID, []Record) (bool, error) {
				switch {
				case !faults:
				case chance(10):
					return false, errors.New("no space left on device")
				case chance(10):
					return true, context.DeadlineExceeded
				}
				return true, nil
			}
			p.cfg.Fault = func(string) {
				if faults && chance(2) {
					p.crash()
				}
			}
			p.launch()
			_, err := p.s.Submit(p.ctx, Submission{ID: id, Definition: everything(), IdempotencyKey: "k"})
			var head engine.Head
			if err == nil {
				head, err = p.s.Wait(p.ctx, id)
			}
			over := err == nil
			if over {
				succeeded(t, head)
			} else if p.ctx.Err() == nil {
				t.Errorf("life %d: %v", life, err)
			}
			p.cancel()
			<-p.ended
			if over || t.Failed() || life > 20 {
				break
			}
		}
		checkLedger(t, w)
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(w.logged(""), "\n"))
		}
	})
}
