// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// house is the housekeeper's ends of the ports of a process.
type house struct {
	p *process

	mu      sync.Mutex                 // guards what follows
	looks   int                        // at the index
	onPut   func(workflow.RunID) error // before anything is written
	swept   [][]string                 // what was named at each sweep
	onSweep func() (n int, more bool, e error)
}

// keepsHouse gives a process an archive.
func keepsHouse(p *process, r Retention, namers ...Namer) *house {
	h := &house{p: p}
	keep := DefaultHousekeeping()
	keep.Store, keep.Archive, keep.Retention, keep.Namers = h, h, r, namers
	p.cfg.Housekeeping = &keep
	return h
}

func (h *house) Index(context.Context) ([]Stored, error) {
	h.mu.Lock()
	h.looks++
	h.mu.Unlock()
	w := h.p.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.p.dead.Load() {
		return nil, errDead
	}
	var index []Stored
	for id, run := range w.runs {
		index = append(index, Stored{
			ID: id, Parent: run.created.Parent, Done: run.done, EndedAt: EndOf(run.records[HeadKey]), Bytes: 1,
		})
	}
	return index, nil
}

func (h *house) Put(_ context.Context, _ *engine.Machine, s *engine.State) error {
	id := s.Input.Run
	h.mu.Lock()
	onPut := h.onPut
	h.mu.Unlock()
	if onPut != nil {
		if err := onPut(id); err != nil {
			return err
		}
	}
	w := h.p.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.p.dead.Load() {
		return errDead
	}
	w.archive[id] = s.Head
	w.logf("archive %s", s.Input.Workflow)
	return nil
}

// sweeps are what every sweep so far was told to keep.
func (h *house) sweeps() [][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.swept)
}

func (h *house) Sweep(ctx context.Context, epoch uint64, named func(context.Context) ([]string, error)) (int, bool, error) {
	hashes, err := named(ctx)
	if err != nil {
		return 0, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.swept = append(h.swept, hashes)
	if h.onSweep != nil {
		return h.onSweep()
	}
	return 0, false, nil
}

// kept are the runs that the store has, and archived those that the archive has, by workflow.
func (w *world) kept() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, run := range w.runs {
		out = append(out, run.created.Workflow)
	}
	slices.Sort(out)
	return out
}

// only keeps so many runs.
func only(runs int) Retention {
	return Retention{Runs: runs, Age: 1000 * time.Hour, Bytes: 1 << 40}
}

func TestRunsThatAreOverLeaveForTheArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		h := keepsHouse(p, only(2))
		p.exec.hold = func(s engine.Start) bool { return s.Workflow == "goes on" }
		p.launch()
		var ids []workflow.RunID
		for n := range 5 {
			id := p.submit(definition(fmt.Sprint("run ", n), task("t")))
			succeeded(t, p.wait(id))
			ids = append(ids, id)
			pass(time.Second)
		}
		p.submit(definition("goes on", task("t")))
		pass(5 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"goes on", "run 3", "run 4"}, w.kept()); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]string{"archive run 0", "archive run 1", "archive run 2"}, w.logged("archive")); d != "" {
			t.Errorf("archived (-want +got):\n%s", d)
		}
		if _, err := p.s.Wait(p.ctx, ids[0]); !errors.Is(err, ErrNotFound) {
			t.Errorf("a run that has left: %v, want ErrNotFound", err)
		}
		// Where nothing changes, nothing is read.
		looks := h.looks
		pass(10 * time.Hour)
		synctest.Wait()
		if h.looks != looks {
			t.Errorf("the index was read %d times while nothing happened", h.looks-looks)
		}
		// But what grows too old leaves all the same.
		pass(1000 * time.Hour)
		synctest.Wait()
		if d := cmp.Diff([]string{"goes on"}, w.kept()); d != "" {
			t.Errorf("stored later (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

func TestChildRunsLeaveAfterTheirParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		keepsHouse(p, only(1))
		p.exec.hold = func(s engine.Start) bool { return s.Task == "work" || s.Task == "last" }
		p.launch()
		last := task("last", "sub")
		id := p.submit(with(definition("outer", starts("sub", "inner"), last), definition("inner", task("work"))))
		synctest.Wait()
		child := p.child(id, 0)
		p.exec.finish(workflow.MakeAttemptID(child, 0, 0, 1), exited(0))
		p.wait(child)
		pass(time.Second)
		other := p.submit(definition("other", task("t")))
		p.wait(other)
		pass(5 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"inner", "other", "outer"}, w.kept()); d != "" {
			t.Errorf("stored while the parent goes on (-want +got):\n%s", d)
		}
		p.exec.finish(workflow.MakeAttemptID(id, 1, 0, 1), exited(0))
		succeeded(t, p.wait(id))
		pass(time.Second)
		p.wait(p.submit(definition("newest", task("t"))))
		pass(5 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"newest"}, w.kept()); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]string{"archive outer", "archive inner", "archive other"}, w.logged("archive")); d != "" {
			t.Errorf("archived (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

func TestNothingLeavesWhileTheArchiveIsInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		h := keepsHouse(p, only(1))
		var log bytes.Buffer
		p.cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
		h.onPut = func(workflow.RunID) error { return errors.New("no space left on device") }
		p.launch()
		for n := range 8 {
			p.wait(p.submit(definition(fmt.Sprint("run ", n), task("t"))))
			pass(time.Second)
		}
		pass(30 * time.Minute)
		synctest.Wait()
		if got := w.kept(); len(got) != 8 {
			t.Errorf("%d runs are stored, want all 8", len(got))
		}
		if got := p.s.Overdue(); !strings.Contains(got, "no space left on device") {
			t.Errorf("overdue: %q, want the archive's trouble", got)
		}
		if n := strings.Count(log.String(), "cannot leave the store"); n != 1 {
			t.Errorf("it was logged %d times, want once:\n%s", n, log.String())
		}
		// Some runs that cannot be archived keep nobody else.
		h.mu.Lock()
		refused := 0
		h.onPut = func(id workflow.RunID) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if name := w.runs[id].created.Workflow; name < "run 4" {
				refused++
				return errors.New("too large")
			}
			return nil
		}
		h.mu.Unlock()
		pass(30 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"run 0", "run 1", "run 2", "run 3", "run 7"}, w.kept()); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
		if p.s.Overdue() == "" {
			t.Errorf("nothing is overdue after %d refusals", refused)
		}
		h.mu.Lock()
		h.onPut = nil
		h.mu.Unlock()
		pass(30 * time.Minute)
		synctest.Wait()
		if got, overdue := w.kept(), p.s.Overdue(); len(got) != 1 || overdue != "" {
			t.Errorf("%v are stored, overdue: %q; want the newest and nothing to say", got, overdue)
		}
		if n := strings.Count(log.String(), "leave the store again"); n != 1 {
			t.Errorf("the end of the trouble was logged %d times, want once", n)
		}
		gracefully(t, p)
	})
}

// A retry that comes while its run is archived is not lost, and neither is what comes of it.
func TestARetryMeetsARunThatLeaves(t *testing.T) {
	for name, fail := range map[string]bool{"the archive takes it": false, "the archive does not take it": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				h := keepsHouse(p, only(1))
				putting, put := make(chan struct{}), make(chan struct{})
				h.onPut = func(workflow.RunID) error {
					putting <- struct{}{}
					<-put
					if fail {
						h.onPut = nil
						return errors.New("no space left on device")
					}
					return nil
				}
				p.exec.hold = func(s engine.Start) bool { return s.Task == "work" }
				p.launch()
				id := p.submit(definition("old", task("work")))
				synctest.Wait()
				p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(1))
				p.wait(id)
				pass(time.Second)
				p.wait(p.submit(definition("new", task("t"))))
				<-putting
				answer := make(chan error, 1)
				go func() { answer <- p.s.Verb(p.ctx, id, engine.Event{Kind: engine.Retry, Task: -1, Instance: -1}) }()
				p.status(id) // it can be looked at meanwhile
				synctest.Wait()
				select {
				case err := <-answer:
					t.Errorf("the verb was answered with %v in the middle", err)
					answer <- err
				default:
				}
				close(put)
				err := <-answer
				if !fail {
					if !errors.Is(err, ErrNotFound) {
						t.Errorf("got %v, want ErrNotFound: it has left", err)
					}
				} else {
					if err != nil {
						t.Error(err)
					}
					synctest.Wait()
					p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 2), exited(0))
					head, err := p.s.Wait(within(t, time.Hour), id)
					if err != nil {
						t.Fatal(err)
					}
					succeeded(t, head)
				}
				gracefully(t, p)
			})
		})
	}
}

// A run that went on and ended again while others left is as new as its new end.
func TestARunThatEndsAgainWhileOthersLeaveStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		h := keepsHouse(p, only(1))
		putting, put := make(chan struct{}, 2), make(chan struct{})
		h.onPut = func(workflow.RunID) error {
			putting <- struct{}{}
			<-put
			return nil
		}
		p.exec.hold = func(s engine.Start) bool { return s.Task == "work" }
		p.launch()
		p.wait(p.submit(definition("oldest", task("t"))))
		pass(time.Second)
		id := p.submit(definition("again", task("work")))
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 1), exited(1))
		p.wait(id)
		pass(time.Second)
		p.wait(p.submit(definition("newest", task("t"))))
		<-putting
		p.verb(id, engine.Retry)
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(id, 0, 0, 2), exited(0))
		succeeded(t, p.wait(id))
		close(put)
		pass(5 * time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"again"}, w.kept()); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]string{"archive oldest", "archive newest"}, w.logged("archive")); d != "" {
			t.Errorf("archived (-want +got):\n%s", d)
		}
		gracefully(t, p)
	})
}

// Runs leave while their leaders die at every point: nothing is lost, and nothing stays.
func TestCrashWhileRunsLeave(t *testing.T) {
	for _, point := range append(HousekeepingFaultPoints(), FaultAfterSave) {
		hits := 0
		for n := 1; n <= 10 && crashLeaving(t, point, n); n++ {
			hits++
		}
		if hits == 0 {
			t.Errorf("%s: never hit", point)
		}
	}
}

func crashLeaving(t *testing.T, point string, n int) (hit bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		keepsHouse(p, only(2))
		var was func() bool
		p.cfg.Fault, was = crashAt(p, point, n)
		p.launch()
		var ids []workflow.RunID
		for n := range 3 {
			id := workflow.NewRunID(time.Now(), [6]byte{byte(n)})
			if _, err := p.s.Submit(p.ctx, Submission{ID: id, Definition: levels(2)}); err != nil {
				break
			}
			ids = append(ids, id)
			if _, err := p.s.Wait(p.ctx, id); err != nil {
				break
			}
			pass(time.Second)
		}
		pass(5 * time.Minute)
		hit = was()
		p.cancel()
		<-p.ended
		next := newProcess(t, w)
		keepsHouse(next, only(2))
		next.launch()
		pass(5 * time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer next.end()
		defer w.mu.Unlock()
		roots := 0
		for _, id := range ids {
			run, archived := w.runs[id], w.archive[id]
			switch {
			case run != nil && run.done:
				roots++
			case archived.Status != workflow.RunSucceeded:
				t.Errorf("%s %d: run %s is neither stored nor archived", point, n, id)
			}
		}
		if roots != 1 || len(w.runs) != 2 {
			t.Errorf("%s %d: %d runs are stored, %d of those submitted; want the newest and its child", point, n, len(w.runs), roots)
		}
	})
	return hit
}

// hashes is a namer.
type hashes struct {
	names []string

	mu  sync.Mutex // guards err
	err error
}

func (h *hashes) Named(context.Context) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names, h.err
}

// fail has it answer with an error from now on, or with its names.
func (h *hashes) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func TestTheSweepKeepsWhatAnybodyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		one, two := &hashes{names: []string{"a"}}, &hashes{names: []string{"b", "c"}}
		h := keepsHouse(p, only(1), one, two)
		left := 3
		h.onSweep = func() (int, bool, error) {
			left--
			return 1, left > 0, nil
		}
		p.launch()
		pass(50 * time.Minute)
		synctest.Wait()
		if len(h.sweeps()) > 0 {
			t.Errorf("swept %d times at once, want an hour's patience", len(h.sweeps()))
		}
		pass(time.Hour)
		synctest.Wait()
		want := [][]string{{"a", "b", "c"}, {"a", "b", "c"}, {"a", "b", "c"}}
		if d := cmp.Diff(want, h.sweeps()); d != "" {
			t.Errorf("named (-want +got):\n%s", d)
		}
		two.fail(errors.New("unreachable"))
		pass(48 * time.Hour)
		synctest.Wait()
		if len(h.sweeps()) != 3 {
			t.Errorf("swept although not all that names definitions could be asked: %v", h.sweeps()[3:])
		}
		two.fail(nil)
		pass(24 * time.Hour)
		synctest.Wait()
		if len(h.sweeps()) != 4 {
			t.Errorf("swept %d times, want once more", len(h.sweeps()))
		}
		gracefully(t, p)
	})
}
