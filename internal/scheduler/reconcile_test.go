// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// After a restore nothing new begins before the executor was asked about all that was under way, and it says why.
func TestARestoredStoreIsReconciledFirst(t *testing.T) {
	for name, restored := range map[string]bool{"restored": true, "as it was left": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				before := newProcess(t, w)
				before.exec.hold = func(engine.Start) bool { return true }
				before.launch()
				old := before.submit(definition("old", task("a")))
				synctest.Wait()
				before.crash()

				p := newProcess(t, w)
				p.restored = restored
				var answers atomic.Bool
				p.exec.onStart = func(s engine.Start) error {
					if s.Run == old && !answers.Load() {
						return &Trouble{NotStarted: true, Err: errors.New("connection refused")}
					}
					return nil
				}
				p.launch()
				fresh := p.submit(definition("fresh", task("b")))
				pass(time.Second / 2)
				w.mu.Lock()
				begun := slices.ContainsFunc(w.begun, func(id workflow.AttemptID) bool { return strings.HasPrefix(string(id), string(fresh)) })
				w.mu.Unlock()
				if begun == restored {
					t.Errorf("a new attempt has begun: %t", begun)
				}
				if notice := p.s.Notice(fresh); restored != strings.Contains(notice, "restored from a backup") {
					t.Errorf("the run's notice is %q", notice)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/10)
				defer cancel()
				if _, err := p.s.AwaitReconciled(ctx); err == nil {
					t.Error("it says that it knows what was under way")
				}
				answers.Store(true)
				p.exec.finish(workflow.MakeAttemptID(old, 0, 0, 1), exited(0))
				if epoch, err := p.s.AwaitReconciled(t.Context()); err != nil || epoch != 2 {
					t.Errorf("reconciled in epoch %d (%v), want 2", epoch, err)
				}
				for _, id := range []workflow.RunID{old, fresh} {
					if head := p.wait(id); head.Status != workflow.RunSucceeded {
						t.Errorf("the run is %s", head.Status)
					}
				}
				if doubted := p.exec.doubts == 1; doubted != restored {
					t.Errorf("the executor was told %d times to doubt its cluster", p.exec.doubts)
				}
				if len(w.begun) != 2 {
					t.Errorf("begun: %v", w.begun)
				}
				if err := p.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What fails again and again is not waited for: the others must go on some time.
func TestAnAttemptThatCannotBeAskedForIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		before := newProcess(t, w)
		before.exec.hold = func(engine.Start) bool { return true }
		before.launch()
		old := before.submit(definition("old", task("a")))
		synctest.Wait()
		before.crash()
		p := newProcess(t, w)
		p.restored = true
		p.exec.onStart = func(s engine.Start) error {
			if s.Run == old {
				return &Trouble{Err: errors.New("403")}
			}
			return nil
		}
		p.launch()
		other := definition("fresh", task("b"))
		other.Namespace = "other" // the breaker of the first closes its own
		if head := p.wait(p.submit(other)); head.Status != workflow.RunSucceeded {
			t.Errorf("the run is %s", head.Status)
		}
		if err := p.end(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEpochAboveOnesOwnEndsTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld()).launch()
		if epoch, err := p.s.AwaitReconciled(t.Context()); err != nil || epoch != 1 {
			t.Fatalf("reconciled in epoch %d (%v), want 1", epoch, err)
		}
		if p.s.Surpassed(1) {
			t.Error("its own epoch is above its own")
		}
		if !p.s.Surpassed(2) {
			t.Error("epoch 2 is not above 1")
		}
		if err := <-p.ended; !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "restored") {
			t.Errorf("it ended with %v", err)
		}
	})
}

// What cannot be loaded with others is loaded by itself.
func TestATakeoverLoadsManyRunsAtOnce(t *testing.T) {
	for name, onLoadAll := range map[string]func(workflow.RunID) (bool, error){
		"all together": nil,
		"all but some": func(id workflow.RunID) (bool, error) { return id[len(id)-1]%2 == 0, nil },
		"none":         func(workflow.RunID) (bool, error) { return false, errors.New("too much at once") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				before := newProcess(t, w)
				before.exec.hold = func(engine.Start) bool { return true }
				before.launch()
				var ids []workflow.RunID
				for range 3*BulkRuns + 5 {
					ids = append(ids, before.submit(definition("many", task("a"))))
				}
				synctest.Wait()
				before.crash()
				p := newProcess(t, w)
				p.onLoadAll = onLoadAll
				p.launch()
				if _, err := p.s.AwaitReconciled(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, id := range ids {
					p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
					if head := p.wait(id); head.Status != workflow.RunSucceeded {
						t.Fatalf("run %s is %s", id, head.Status)
					}
				}
				if err := p.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
