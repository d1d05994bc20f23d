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

func succeeded(t *testing.T, head engine.Head) {
	t.Helper()
	if head.Status != workflow.RunSucceeded {
		t.Errorf("run is %s (%s), want succeeded", head.Status, head.Reason)
	}
}

// gracefully ends the process and wants Run to return nil.
func gracefully(t *testing.T, p *process) {
	t.Helper()
	if err := p.end(); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
}

func TestChainTakesOneSaveForEachTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		succeeded(t, p.wait(p.submit(chain(3))))
		// Begin with the first admission, then each end together with the next admission.
		if d := cmp.Diff([]string{"save", "save", "save", "save"}, w.logged("save")); d != "" {
			t.Errorf("saves (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

func TestEverythingThatWaitsSharesOneSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(definition("wide", times(task("t"), 50)))
		synctest.Wait()
		before := len(w.logged("save"))
		// All 50 ends wait in the mailbox before the first is looked at.
		hold := make(chan struct{})
		p.exec.quiet = true
		viewed := make(chan error, 1)
		go func() {
			viewed <- p.s.View(p.ctx, id, func(*engine.Machine, *engine.State) error {
				<-hold
				return nil
			})
		}()
		synctest.Wait()
		for i := range 50 {
			p.exec.finish(workflow.MakeAttemptID(id, 0, i, 1), exited(0))
		}
		synctest.Wait()
		close(hold)
		succeeded(t, p.wait(id))
		if err := <-viewed; err != nil {
			t.Error(err)
		}
		if got := len(w.logged("save")) - before; got != 1 {
			t.Errorf("%d saves for 50 ends that waited together, want 1", got)
		}
		gracefully(t, p)
	})
}

func TestNothingIsActedUponBeforeItIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		release := make(chan struct{})
		p.onSave = func(workflow.RunID, []Record) (bool, error) {
			<-release
			return true, nil
		}
		p.launch()
		id := p.submit(chain(2))
		synctest.Wait()
		if got := w.logged("start", "settle"); len(got) > 0 {
			t.Errorf("done while the save was under way: %v", got)
		}
		close(release)
		succeeded(t, p.wait(id))
		synctest.Wait()
		saves := 0
		for _, line := range w.logged("save", "start", "settle") {
			switch {
			case line == "save":
				saves++
			case strings.HasPrefix(line, "start 0") && saves < 1, strings.HasPrefix(line, "start 1") && saves < 2,
				strings.HasPrefix(line, "settle 0") && saves < 2, strings.HasPrefix(line, "settle 1") && saves < 3:
				t.Errorf("%s after %d saves: %v", line, saves, w.logged(""))
			}
		}
		gracefully(t, p)
	})
}

func TestNewsThatDecideNothingLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(1))
		synctest.Wait()
		if got := len(w.logged("save")); got != 1 {
			t.Errorf("%d saves while accepted and started are fresh, want 1: the admission", got)
		}
		pass(p.cfg.Linger + time.Millisecond)
		synctest.Wait()
		if got := len(w.logged("save")); got != 2 {
			t.Errorf("%d saves after the linger time, want 2", got)
		}
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		succeeded(t, p.wait(id))
		if got := len(w.logged("save")); got != 3 {
			t.Errorf("%d saves in all, want 3", got)
		}
		gracefully(t, p)
	})
}

func TestGracefulEndSavesWhatLingersAndLeavesAttemptsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(1))
		synctest.Wait()
		gracefully(t, p)
		if got := w.logged("save", "kill", "release"); !cmp.Equal(got, []string{"save", "save", "release"}) {
			t.Errorf("at the end: %v, want the save of what lingered, no kill, and the release", got)
		}
		next := newProcess(t, w)
		next.launch()
		synctest.Wait()
		next.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		succeeded(t, next.wait(id))
		if len(w.begun) != 1 {
			t.Errorf("attempts that ran: %v, want one", w.begun)
		}
		gracefully(t, next)
	})
}

func TestTimersWakeTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		fails := 2
		p.exec.hold = func(engine.Start) bool { return true }
		p.exec.afterStart = func(s engine.Start) error {
			if s.Number <= fails {
				p.exec.finish(s.Attempt, exited(1))
			}
			return nil
		}
		def := definition("retried", task("t"))
		def.Tasks[0].Policy.Retry.MaxAttempts = 3
		def.Tasks[0].Policy.Timeout = time.Minute
		p.launch()
		began := time.Now()
		id := p.submit(def)
		head := p.wait(id)
		// Delays of 10 s and 20 s, then a minute until the third attempt is timed out.
		if got, want := time.Since(began).Round(time.Second), 90*time.Second; got != want {
			t.Errorf("it took %s, want %s", got, want)
		}
		if head.Status != workflow.RunFailed {
			t.Errorf("got %s, want failed", head.Status)
		}
		synctest.Wait()
		if d := cmp.Diff([]string{"start 0/0/1", "start 0/0/2", "start 0/0/3", "kill 0/0/3"}, w.logged("start", "kill")); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

func TestFencedSaveEndsTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(2))
		synctest.Wait()
		// Somebody else has taken over and written.
		w.mu.Lock()
		w.epoch, w.written = 9, 9
		w.mu.Unlock()
		started := len(w.logged("start"))
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		if err := <-p.ended; !errors.Is(err, ErrFenced) {
			t.Errorf("Run returned %v, want ErrFenced", err)
		}
		if got := len(w.logged("start")); got != started || len(w.logged("settle", "release")) > 0 {
			t.Errorf("acted after being fenced: %v", w.logged(""))
		}
		if _, err := p.s.Submit(within(t, time.Second), Submission{Definition: chain(1)}); !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "no leader yet") {
			t.Errorf("Submit without leadership: %v, want to have waited for a leader", err)
		}
		p.cancel()
	})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestRenewalKeepsOrEndsTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.trust = 9 * time.Second
		var renewals atomic.Int32
		var fail, fenced atomic.Bool
		p.onRenew = func(l Leadership) (Leadership, error) {
			renewals.Add(1)
			switch {
			case fenced.Load():
				return l, ErrFenced
			case fail.Load():
				return l, errors.New("no answer")
			}
			l.TrustedUntil = time.Now().Add(p.trust)
			return l, nil
		}
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(2))
		pass(time.Minute)
		synctest.Wait()
		if n := renewals.Load(); n < 15 || n > 25 {
			t.Errorf("%d renewals in a minute with trust for 9 s, want one every 3 s", n)
		}
		fail.Store(true)
		pass(10 * time.Second)
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		synctest.Wait()
		if got := w.logged("start 1"); len(got) > 0 {
			t.Error("a task was started without trust")
		}
		fail.Store(false)
		pass(p.cfg.Backoff.Max)
		synctest.Wait()
		if got := w.logged("start 1"); len(got) != 1 {
			t.Errorf("after the trust was back: %v, want the start of the second task", got)
		}
		fenced.Store(true)
		if err := <-p.ended; !errors.Is(err, ErrFenced) {
			t.Errorf("Run returned %v, want ErrFenced", err)
		}
		p.cancel()
	})
}

func TestSubmitWaitsUntilThisProcessLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		s, err := New(p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.s = s
		submitted := make(chan error, 1)
		go func() {
			_, err := s.Submit(p.ctx, Submission{Definition: chain(1)})
			submitted <- err
		}()
		synctest.Wait()
		if got := w.logged("create"); len(got) > 0 {
			t.Error("created without leadership")
		}
		go func() { p.ended <- s.Run(p.ctx) }()
		if err := <-submitted; err != nil {
			t.Errorf("Submit: %v", err)
		}
		gracefully(t, p)
	})
}

func TestIdempotencyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld()).launch()
		submit := func(def *workflow.Definition, param string) (workflow.RunID, error) {
			params := map[string]workflow.Value{"p": {JSON: []byte(param)}}
			return p.s.Submit(p.ctx, Submission{Definition: def, Params: params, IdempotencyKey: "k"})
		}
		first, err := submit(chain(1), "1")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := submit(chain(1), "1"); err != nil || again != first {
			t.Errorf("same again: %s, %v, want the first run %s", again, err, first)
		}
		var taken *KeyTakenError
		if _, err := submit(chain(1), "2"); !errors.As(err, &taken) || taken.Run != first {
			t.Errorf("other params: %v, want a refusal that names %s", err, first)
		}
		succeeded(t, p.wait(first))
		gracefully(t, p)
	})
}

// misfits wants a *engine.Misfit that says something.
func misfits(t *testing.T, err error, says string) {
	t.Helper()
	var misfit *engine.Misfit
	if !errors.As(err, &misfit) || !strings.Contains(misfit.Text, says) {
		t.Errorf("got %v, want a misfit that says %q", err, says)
	}
}

func TestVerbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(2))
		synctest.Wait()
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Stop, By: "me"}); err != nil {
			t.Errorf("stop: %v", err)
		}
		if head := p.wait(id); head.Status != workflow.RunCancelled {
			t.Errorf("got %s, want cancelled", head.Status)
		}
		if err := p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Stop}); err != nil {
			t.Errorf("stop of a run that was stopped: %v, want nothing to be done", err)
		}
		misfits(t, p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Pause}), "is cancelled")
		if err := p.s.Verb(p.ctx, p.s.NewRunID(), engine.Event{Kind: engine.Stop}); !errors.Is(err, ErrNotFound) {
			t.Errorf("stop of no run: %v, want ErrNotFound", err)
		}
		gracefully(t, p)
	})
}

func TestChangesTellReadersAtMostTenTimesASecond(t *testing.T) {
	testPace(t, 300, 100*time.Millisecond)
}

// A document of 1,200 tasks takes 18 ms to make and read, a fortieth of 720.
func TestChangesOfALargeRunAreToldMoreSeldom(t *testing.T) { testPace(t, 1200, 720*time.Millisecond) }

func testPace(t *testing.T, tasks int, every time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.onStart = func(engine.Start) error {
			pass(3070 * time.Microsecond) // virtual time: the task's life, such that the run ends between two tellings
			return nil
		}
		p.launch()
		began := time.Now()
		id := p.submit(chain(tasks))
		told, index := 0, uint64(0)
		for {
			next, err := p.s.Changes(p.ctx, id, index)
			if err != nil {
				t.Fatal(err)
			}
			if next < index {
				t.Fatalf("the index went back from %d to %d", index, next)
			}
			index = next
			told++
			var ended time.Time
			if err := p.s.View(p.ctx, id, func(_ *engine.Machine, s *engine.State) error {
				ended = s.Head.EndedAt.Time()
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !ended.IsZero() {
				if late := time.Since(ended); late > 10*time.Millisecond {
					t.Errorf("the end of the run was told %s late", late)
				}
				break
			}
		}
		took := time.Since(began)
		if most := int(took/every) + 3; told > most || told < most/2 {
			t.Errorf("told %d times in %s, want at most %d", told, took, most)
		}
		ctx := within(t, time.Second)
		last, err := p.s.Changes(ctx, id, index)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := p.s.Changes(ctx, id, last); err != nil || again != last || ctx.Err() == nil {
			t.Errorf("a run that is over changed from %d to %d, %v", last, again, err)
		}
		gracefully(t, p)
	})
}

// Readers that come while the leader still loads its runs are told of what happens then, also of a run that ends at once.
func TestReadersDuringATakeover(t *testing.T) {
	for round := range 40 {
		readersDuringATakeover(t, round%2 == 0)
	}
}

func readersDuringATakeover(t *testing.T, endsAtOnce bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(chain(1))
		synctest.Wait()
		gracefully(t, p)
		if endsAtOnce {
			p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		}
		next := newProcess(t, w)
		next.cfg.Store = slow{(*fakeStore)(next)}
		next.launch()
		synctest.Wait() // it leads, and lists
		index, err := next.s.Changes(next.ctx, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan error, 2)
		go func() {
			_, err := next.s.Changes(next.ctx, id, index)
			told <- err
		}()
		go func() {
			_, err := next.s.Wait(next.ctx, id)
			told <- err
		}()
		pass(time.Minute)
		next.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(0))
		for range 2 {
			select {
			case err := <-told:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Hour):
				t.Fatal("a reader was not told of the end of the run")
			}
		}
		gracefully(t, next)
	})
}

// slow is a store that takes its time to list.
type slow struct{ *fakeStore }

func (s slow) List(ctx context.Context, filter Filter) ([]Summary, error) {
	pass(time.Second)
	return s.fakeStore.List(ctx, filter)
}

func TestWatchIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		broken := 3
		p.cfg.Executor = breaking{p.exec, &broken}
		p.launch()
		succeeded(t, p.wait(p.submit(chain(3))))
		if broken != 0 {
			t.Errorf("the watch has %d breaks left, want 0", broken)
		}
		gracefully(t, p)
	})
}

// breaking is an executor whose watch breaks a few times.
type breaking struct {
	*fakeExecutor
	left *int
}

func (b breaking) Watch(ctx context.Context, report func(engine.Event)) error {
	if *b.left > 0 {
		*b.left--
		return errors.New("the stream ended")
	}
	return b.fakeExecutor.Watch(ctx, report)
}

func TestWallClockStepsNeitherFireNorStopTimers(t *testing.T) {
	for _, step := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProcess(t, newWorld())
				began := time.Now()
				p.cfg.Now = func() time.Time {
					now := time.Now()
					if now.Sub(began) > time.Second {
						now = now.Add(step)
					}
					return now
				}
				p.exec.hold = func(engine.Start) bool { return true }
				def := definition("slow", task("t"))
				def.Tasks[0].Policy.Timeout = time.Minute
				p.launch()
				head := p.wait(p.submit(def))
				if got := time.Since(began).Round(time.Second); got != time.Minute {
					t.Errorf("the timeout of a minute took %s", got)
				}
				if got := head.EndedAt.Sub(head.StartedAt).Round(time.Second); got != time.Minute {
					t.Errorf("the run lasted %s by its own times, want a minute", got)
				}
				gracefully(t, p)
			})
		})
	}
}

// A leader whose clock was ahead has stamped what it did: the timers of its runs do not wait until the next leader's clock has
// caught up with it.
func TestTimersDoNotWaitForAClockThatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		began := time.Now()
		p.cfg.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		hold := func(engine.Start) bool { return true }
		p.exec.hold = hold
		def := definition("slow", task("t"))
		def.Tasks[0].Policy.Timeout = time.Minute
		id := p.launch().submit(def)
		timer := time.NewTimer(20 * time.Second)
		<-timer.C
		p.crash()
		next := newProcess(t, w)
		next.exec.hold = hold
		head := next.launch().wait(id)
		// The first twenty seconds have no stamp but by that clock, and do not count.
		if got := time.Since(began).Round(time.Second); got != time.Minute+20*time.Second {
			t.Errorf("the timeout of a minute took %s", got)
		}
		if got := head.EndedAt.Sub(head.StartedAt).Round(time.Second); got != time.Minute {
			t.Errorf("the run lasted %s by its own times, want a minute", got)
		}
		gracefully(t, next)
	})
}
