// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestUnknownSaveOutcome(t *testing.T) {
	for name, written := range map[string]bool{"a save that was written all the same": true, "a save that was not written": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				behave(p)
				saves := 0
				p.onSave = func(workflow.RunID, []Record) (bool, error) {
					if saves++; saves%2 == 0 {
						return written, context.DeadlineExceeded
					}
					return true, nil
				}
				p.launch()
				succeeded(t, p.wait(p.submit(everything())))
				checkLedger(t, w)
				gracefully(t, p)
			})
		})
	}
}

// A full disk stops the run, shows, and heals by itself when there is space again. The executor does not repeat what it has
// reported.
func TestFullDiskHealsWhenThereIsSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		var full atomic.Bool
		p.onSave = func(workflow.RunID, []Record) (bool, error) {
			if full.Load() {
				return false, syscall.ENOSPC
			}
			return true, nil
		}
		p.exec.hold = func(engine.Start) bool { return true }
		p.exec.once = map[workflow.AttemptID]bool{}
		p.launch()
		id := p.submit(chain(2))
		synctest.Wait()
		full.Store(true)
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		pass(10 * time.Minute)
		synctest.Wait()
		if got := p.s.Notice(id); !strings.Contains(got, "no space left on device") {
			t.Errorf("the notice says %q, want the disk's words", got)
		}
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Pause}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a verb meanwhile: %v, want the disk's error", err)
		}
		var status workflow.Status
		if err := p.s.View(p.ctx, id, func(_ *engine.Machine, s *engine.State) error {
			status = s.Tasks[0].Status
			return nil
		}); err != nil || status == workflow.Succeeded {
			t.Errorf("the view says %s, %v, want nothing that is not saved", status, err)
		}
		if got := w.logged("start 1"); len(got) > 0 {
			t.Error("the second task was started although the first one's end is not saved")
		}
		full.Store(false)
		pass(2 * p.cfg.Backoff.Max)
		p.exec.finish(workflow.MakeAttemptID(id, 1, 0, 1), exited(0))
		succeeded(t, p.wait(id))
		if got := p.s.Notice(id); got != "" {
			t.Errorf("the notice still says %q", got)
		}
		gracefully(t, p)
	})
}

func TestRunThatIsGoneFromTheStoreIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(2))
		pass(time.Second)
		w.mu.Lock()
		delete(w.runs, id)
		w.mu.Unlock()
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		if _, err := p.s.Wait(p.ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Wait: %v, want ErrNotFound", err)
		}
		gracefully(t, p)
	})
}

func TestDamagedRunDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		bad, good := p.submit(chain(1)), p.submit(definition("good", task("t")))
		synctest.Wait()
		gracefully(t, p)
		w.mu.Lock()
		w.runs[bad].records["h"] = []byte("{")
		w.mu.Unlock()
		p = newProcess(t, w).launch()
		pass(time.Minute)
		p.exec.finish(workflow.MakeAttemptID(good, 0, 0, 1), exited(0))
		succeeded(t, p.wait(good))
		if got := p.s.Notice(bad); !strings.Contains(got, "cannot be loaded") {
			t.Errorf("the notice of the damaged run says %q", got)
		}
		gracefully(t, p)
	})
}

func TestUnknownCreateOutcome(t *testing.T) {
	for name, written := range map[string]bool{"a run that was stored all the same": true, "a run that was not stored": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				p.cfg.Store = losing{(*fakeStore)(p), written}
				p.launch()
				id, err := p.s.Submit(p.ctx, Submission{Definition: chain(2)})
				if written {
					if err != nil {
						t.Fatalf("Submit: %v, want the run that was stored", err)
					}
					succeeded(t, p.wait(id))
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Submit: %v, want the store's error", err)
				}
				gracefully(t, p)
			})
		})
	}
}

// losing is a store whose answers to Create are lost.
type losing struct {
	*fakeStore
	written bool
}

func (l losing) Create(ctx context.Context, epoch uint64, run NewRun) (workflow.RunID, error) {
	if l.written {
		if _, err := l.fakeStore.Create(ctx, epoch, run); err != nil {
			return "", err
		}
	}
	return "", context.DeadlineExceeded
}
