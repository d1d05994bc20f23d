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

// see reads the state of a run.
func (p *process) see(id workflow.RunID, read func(*engine.Machine, *engine.State)) {
	p.t.Helper()
	err := p.s.View(p.ctx, id, func(m *engine.Machine, s *engine.State) error {
		read(m, s)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// child is the child run of a task of a run.
func (p *process) child(id workflow.RunID, task int) (child workflow.RunID) {
	p.t.Helper()
	p.see(id, func(m *engine.Machine, s *engine.State) { child = m.ChildOf(s, task, 0) })
	if child == "" {
		p.t.Fatalf("task %d of run %s has no child run", task, id)
	}
	return child
}

func (p *process) status(id workflow.RunID) (status workflow.RunStatus) {
	p.t.Helper()
	p.see(id, func(_ *engine.Machine, s *engine.State) { status = s.Head.Status })
	return status
}

// wants waits until nothing happens any more, and compares the statuses of runs.
func (p *process) wants(want workflow.RunStatus, ids ...workflow.RunID) {
	p.t.Helper()
	pass(time.Second)
	synctest.Wait()
	for n, id := range ids {
		if got := p.status(id); got != want {
			p.t.Errorf("run %d of %d is %s, want %s", n+1, len(ids), got, want)
		}
	}
}

func (p *process) verb(id workflow.RunID, kind engine.EventKind) {
	p.t.Helper()
	if err := p.s.Verb(p.ctx, id, engine.Event{Kind: kind, Task: -1, Instance: -1, By: "me"}); err != nil {
		p.t.Errorf("%s: %v", kind, err)
	}
}

// onWorker are the attempts that ran, as "workflow task/instance/number".
func (w *world) onWorker() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, id := range w.begun {
		out = append(out, w.attempts[id].start.Workflow+" "+short(id))
	}
	return out
}

// levels is a workflow that starts another one, which starts another one, and so on; every one of them has a task before,
// and a finally task.
func levels(depth int) *workflow.Definition {
	tidy := task("tidy")
	tidy.Kind = workflow.KindFinally
	def := definition("level0", task("work"), tidy)
	for n := 1; n < depth; n++ {
		def = with(definition(fmt.Sprintf("level%d", n), starts("sub", def.Name), tidy), def)
	}
	return def
}

// family submits levels and returns the runs, the outermost first.
func (p *process) family(depth int) []workflow.RunID {
	p.t.Helper()
	ids := []workflow.RunID{p.submit(levels(depth))}
	for range depth - 1 {
		pass(time.Second)
		synctest.Wait()
		ids = append(ids, p.child(ids[len(ids)-1], 0))
	}
	return ids
}

// held is a process whose tasks run until they are told.
func held(t *testing.T, w *world) *process {
	p := newProcess(t, w)
	p.exec.hold = func(s engine.Start) bool { return s.Task == "work" }
	return p.launch()
}

func TestAChildRunIsARunOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		inner := definition("inner", task("t"))
		inner.Labels = map[string]string{"team": "inner", "own": "1"}
		inner.Outputs = []workflow.RunOutput{{Name: "n", Value: workflow.Expr{Kind: workflow.ExprValue, Text: "42"}, Sensitive: true}}
		outer := with(definition("outer", starts("sub", "inner")), inner)
		outer.Tasks[0].Body.Text = `{"workflow":"inner","params":{"x":{"v":1}}}`
		id, err := p.s.Submit(p.ctx, Submission{
			Definition: outer, By: "me", Labels: map[string]string{"team": "outer", "cost": "7"}, ScheduledAt: 12345,
		})
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.wait(id))
		child := p.child(id, 0)
		p.see(child, func(_ *engine.Machine, s *engine.State) {
			want := engine.Input{
				Version: s.Input.Version, Run: child, Workflow: "inner", Definition: "sha256:inner", Namespace: "default",
				Params: s.Input.Params, Given: []string{"x"}, Labels: map[string]string{"team": "inner", "own": "1", "cost": "7"},
				Trigger: "workflow", By: "me", CreatedAt: s.Input.CreatedAt, ScheduledAt: 12345,
				Parent: workflow.MakeAttemptID(id, 0, 0, 1), Depth: 1,
			}
			if d := cmp.Diff(want, s.Input); d != "" {
				t.Errorf("input of the child (-want +got):\n%s", d)
			}
		})
		p.see(id, func(_ *engine.Machine, s *engine.State) {
			past := s.Instances[0][0].Past[0]
			if past.Place.Child != child || string(past.Outputs["n"].JSON) != "42" || !past.Outputs["n"].Sensitive {
				t.Errorf("the attempt is %+v, want the child's output, still sensitive", past)
			}
		})
		list, err := p.s.List(p.ctx, Filter{})
		if err != nil || len(list) != 1 || list[0].ID != id {
			t.Errorf("listed are %v, %v, want only the run that somebody started", list, err)
		}
		if list, err = p.s.List(p.ctx, Filter{Children: true}); err != nil || len(list) != 2 {
			t.Errorf("listed with children are %v, %v, want both", list, err)
		}
		gracefully(t, p)
	})
}

func TestHowAChildRunEndsDecidesItsTask(t *testing.T) {
	for name, tc := range map[string]struct {
		inner  *workflow.Definition
		by     func(p *process, child workflow.RunID)
		want   workflow.Status
		reason string
	}{
		"failed": {inner: definition("inner", task("bad")), want: workflow.Failed, reason: "task bad failed"},
		"stopped by somebody": {inner: definition("inner", task("work")), want: workflow.Failed, reason: "was cancelled: stopped by me",
			by: func(p *process, child workflow.RunID) { p.verb(child, engine.Stop) }},
		"refused": {inner: definition("other", task("t")), want: workflow.Failed, reason: "w.hcl:7: there is no workflow inner"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				p.exec.hold = func(s engine.Start) bool { return s.Task == "work" || s.Task == "bad" }
				p.exec.afterStart = func(s engine.Start) error {
					if s.Task == "bad" {
						p.exec.finish(s.Attempt, exited(1))
					}
					return nil
				}
				p.launch()
				id := p.submit(with(definition("outer", starts("sub", "inner")), tc.inner))
				pass(time.Second)
				synctest.Wait()
				if tc.by != nil {
					tc.by(p, p.child(id, 0))
				}
				p.wait(id)
				p.see(id, func(_ *engine.Machine, s *engine.State) {
					in := s.Instances[0][0]
					if in.Status != tc.want || !strings.Contains(in.Past[0].Message, tc.reason) {
						t.Errorf("the task is %s: %q, want %s: %q", in.Status, in.Past[0].Message, tc.want, tc.reason)
					}
				})
				gracefully(t, p)
			})
		})
	}
}

func TestVerbsReachEveryLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := held(t, w)
		ids := p.family(3)
		p.wants(workflow.RunRunning, ids...)
		p.verb(ids[0], engine.Pause)
		p.wants(workflow.RunPausing, ids...) // the innermost task still runs
		p.exec.finish(workflow.MakeAttemptID(ids[2], 0, 0, 1), exited(1))
		p.wants(workflow.RunPaused, ids...)
		if got := w.onWorker(); len(got) != 1 {
			t.Errorf("on the worker were %v, want nothing new during the pause", got)
		}
		p.verb(ids[0], engine.Resume)
		p.verb(ids[0], engine.Resume)
		if head := p.wait(ids[0]); head.Status != workflow.RunFailed {
			t.Errorf("the outermost is %s, want failed", head.Status)
		}
		p.wants(workflow.RunFailed, ids...)

		// A retry by hand goes down to what failed, in the same runs.
		p.verb(ids[0], engine.Retry)
		pass(time.Second)
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(ids[2], 0, 0, 2), exited(0))
		succeeded(t, p.wait(ids[0]))
		p.wants(workflow.RunSucceeded, ids...)
		for n, id := range ids {
			p.see(id, func(_ *engine.Machine, s *engine.State) {
				if s.Head.Generation != 2 {
					t.Errorf("level %d is in generation %d, want 2", n, s.Head.Generation)
				}
			})
		}
		if len(w.runs) != 3 {
			t.Errorf("%d runs, want the same 3", len(w.runs))
		}
		gracefully(t, p)
	})
}

func TestStopLetsEveryLevelTidyUpAndTerminateDoesNot(t *testing.T) {
	for verb, tidied := range map[engine.EventKind]int{engine.Stop: 3, engine.Terminate: 0} {
		t.Run(string(verb), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := held(t, w)
				ids := p.family(3)
				p.verb(ids[0], verb)
				if head := p.wait(ids[0]); head.Status != workflow.RunCancelled {
					t.Errorf("the outermost is %s, want cancelled", head.Status)
				}
				p.wants(workflow.RunCancelled, ids...)
				if got := len(w.onWorker()) - 1; got != tidied {
					t.Errorf("%d finally tasks ran: %v, want %d", got, w.onWorker(), tidied)
				}
				p.see(ids[0], func(_ *engine.Machine, s *engine.State) {
					if got := s.Instances[0][0].Past[0].Verdict; got != workflow.VerdictCancelled {
						t.Errorf("the attempt is %s, want cancelled", got)
					}
				})
				if w.running != 0 {
					t.Errorf("%d attempts still run", w.running)
				}
				gracefully(t, p)
			})
		})
	}
}

func TestAChildTakesFewVerbsWhileItsParentGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := held(t, newWorld())
		ids := p.family(2)
		parent, child := ids[0], ids[1]
		for _, kind := range []engine.EventKind{engine.Pause, engine.Resume, engine.Retry, engine.CancelTask, engine.SkipTask} {
			misfits(t, p.s.Verb(p.ctx, child, engine.Event{Kind: kind, Instance: -1}), string("was started by run "+parent))
		}
		if err := p.s.Delete(p.ctx, child); !errors.Is(err, ErrConflict) {
			t.Errorf("delete: %v, want ErrConflict", err)
		}
		p.verb(child, engine.Terminate)
		if head := p.wait(parent); head.Status != workflow.RunFailed {
			t.Errorf("the parent is %s, want failed", head.Status)
		}
		// Afterwards the child stands for itself.
		p.verb(child, engine.Retry)
		synctest.Wait()
		p.exec.finish(workflow.MakeAttemptID(child, 0, 0, 2), exited(0))
		succeeded(t, p.wait(child))
		// And what was mended is taken up by a retry of the parent.
		p.verb(parent, engine.Retry)
		succeeded(t, p.wait(parent))
		if err := p.s.Delete(p.ctx, parent); err != nil {
			t.Error(err)
		}
		for _, id := range ids {
			if _, err := p.s.Wait(p.ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("after the delete: %v, want both runs gone", err)
			}
		}
		gracefully(t, p)
	})
}

// A worker is lost under a child run as under any other.
func TestTheLossOfAWorkerReachesAChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		p.exec.hold = func(engine.Start) bool { return true }
		p.launch()
		id := p.submit(levels(2))
		synctest.Wait()
		child := p.child(id, 0)
		attempt := workflow.MakeAttemptID(child, 0, 0, 1)
		lost := engine.Event{Kind: engine.WorkerLost, Attempt: attempt, By: "ada", Message: "it burns", Place: engine.Place{Node: "worker"}}
		if err := p.s.Verb(t.Context(), child, lost); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		err := p.s.View(t.Context(), child, func(_ *engine.Machine, s *engine.State) error {
			if past := s.Instances[0][0].Past; len(past) != 1 || past[0].Verdict != workflow.VerdictLost || past[0].Message != "it burns" {
				t.Errorf("its attempts are %+v, want one that was lost", past)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		gracefully(t, p)
	})
}

// The pause comes while the child run is being made, the resume while it is being loaded.
func TestAPauseMeetsAChildThatIsBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		creating := make(chan struct{})
		p.onCreate = func(run NewRun) (bool, error) {
			if run.Parent != "" {
				<-creating
			}
			return true, nil
		}
		p.launch()
		id := p.submit(levels(2))
		synctest.Wait()
		p.verb(id, engine.Pause)
		close(creating)
		p.wants(workflow.RunPaused, id)
		child := p.child(id, 0)
		if got := p.status(child); got != workflow.RunQueued {
			t.Errorf("the child is %s, want it not to have begun", got)
		}
		if got := w.onWorker(); len(got) != 0 {
			t.Errorf("on the worker: %v, want nothing during a pause", got)
		}
		// It stays so over a takeover, whichever of the two is loaded first.
		p.crash()
		<-p.ended
		next := newProcess(t, w)
		next.launch()
		next.wants(workflow.RunPaused, id)
		if got := w.onWorker(); len(got) != 0 {
			t.Errorf("on the worker after a takeover: %v, want nothing during a pause", got)
		}
		if got := next.s.Notice(child); !strings.Contains(got, "paused") {
			t.Errorf("the child's notice is %q, want to hear of the pause", got)
		}
		next.verb(id, engine.Resume)
		succeeded(t, next.wait(id))
		gracefully(t, next)
	})
}

// looking is a store that tells when a run was looked for in vain.
type looking struct {
	*fakeStore
	absent func()
}

func (l looking) Load(ctx context.Context, id workflow.RunID) ([]Record, Definition, error) {
	records, def, err := l.fakeStore.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		l.absent()
	}
	return records, def, err
}

// A leader was deposed in the middle of making a child run, and is late with it: just after the one that has taken over has
// looked for the child, and just before it saves that there is none.
func TestALateCreateOfADeposedLeaderMakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		old := newProcess(t, w)
		creating := make(chan struct{})
		old.onCreate = func(run NewRun) (bool, error) {
			if run.Parent != "" {
				<-creating
			}
			return true, nil
		}
		old.launch()
		id := old.submit(levels(2))
		synctest.Wait() // it is about to create the child

		// The successor finds a parent that is stopping, and writes nothing before it knows about the child.
		stop := engine.Event{Kind: engine.Terminate, Task: -1, Instance: -1}
		if err := old.s.Verb(old.ctx, id, stop); err != nil {
			t.Fatal(err)
		}
		next := newProcess(t, w)
		next.cfg.Store = looking{(*fakeStore)(next), func() {
			close(creating)
			if err := <-old.ended; !errors.Is(err, ErrFenced) {
				t.Errorf("the deposed leader ended with %v, want to be fenced", err)
			}
		}}
		next.launch()
		if head := next.wait(id); head.Status != workflow.RunCancelled {
			t.Errorf("the run is %s, want cancelled", head.Status)
		}
		if len(w.runs) != 1 {
			t.Errorf("%d runs are stored, want no child", len(w.runs))
		}
		if got := w.onWorker(); len(got) != 0 {
			t.Errorf("on the worker: %v, want nothing", got)
		}
		gracefully(t, next)
	})
}

// Whether a create came through is not known, and meanwhile its parent is stopped: the child is found or made, and ended.
func TestAChildWhoseCreateIsInDoubtIsEnded(t *testing.T) {
	for name, written := range map[string]bool{"it came through": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				tries := 0
				p.onCreate = func(run NewRun) (bool, error) {
					if run.Parent == "" {
						return true, nil
					}
					if tries++; tries == 1 {
						return written, context.DeadlineExceeded
					}
					return true, nil
				}
				p.launch()
				id := p.submit(levels(2))
				synctest.Wait()
				if got := p.s.Notice(id); !strings.Contains(got, "deadline") {
					t.Errorf("the notice is %q, want to hear what the store said", got)
				}
				p.verb(id, engine.Stop)
				if head := p.wait(id); head.Status != workflow.RunCancelled {
					t.Errorf("the run is %s, want cancelled", head.Status)
				}
				child := p.child(id, 0)
				p.wants(workflow.RunCancelled, child)
				if got := w.onWorker(); len(got) > 1 || len(got) == 1 && got[0] != "level1 1/0/1" {
					t.Errorf("on the worker: %v, want nothing but the parent's finally", got)
				}
				gracefully(t, p)
			})
		})
	}
}

// The store is killed with its leader at every point, and between any two writes of the parent and the child.
func TestCrashBetweenParentAndChild(t *testing.T) {
	for _, verb := range []engine.EventKind{"", engine.Stop, engine.Pause} {
		for _, point := range FaultPoints() {
			for n := 1; n <= 12 && crashFamily(t, verb, point, n); n++ {
			}
		}
	}
}

func crashFamily(t *testing.T, verb engine.EventKind, point string, n int) (hit bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		var was func() bool
		p.cfg.Fault, was = crashAt(p, point, n)
		p.launch()
		id := NewTestRunID(t)
		_, err := p.s.Submit(p.ctx, Submission{ID: id, Definition: levels(3)})
		if err == nil && verb != "" {
			err = p.s.Verb(p.ctx, id, engine.Event{Kind: verb, Task: -1, Instance: -1})
		}
		if err == nil {
			_, err = p.s.Wait(within(t, time.Minute), id)
		}
		var misfit *engine.Misfit
		if hit = was(); !hit && err != nil && verb != engine.Pause && !errors.As(err, &misfit) { // a paused run does not end
			t.Errorf("%s %s %d: %v", verb, point, n, err)
		}
		p.cancel()
		<-p.ended
		next := newProcess(t, w)
		next.launch()
		if _, err := next.s.Wait(within(t, time.Minute), id); errors.Is(err, ErrNotFound) {
			next.end()
			return // the create itself was hit
		}
		if status := next.status(id); status == workflow.RunPaused {
			next.verb(id, engine.Resume)
		}
		want := workflow.RunSucceeded
		head := next.wait(id)
		if verb == engine.Stop && head.Status == workflow.RunCancelled {
			want = workflow.RunCancelled
		}
		if head.Status != want {
			t.Errorf("%s %s %d: the run is %s (%s), want %s", verb, point, n, head.Status, head.Reason, want)
		}
		ran := map[string]int{}
		for _, what := range w.onWorker() {
			if ran[what]++; ran[what] > 1 {
				t.Errorf("%s %s %d: %s ran twice", verb, point, n, what)
			}
		}
		for run, stored := range w.runs {
			if !stored.done {
				t.Errorf("%s %s %d: run %s of %s goes on by itself", verb, point, n, run, stored.created.Workflow)
			}
		}
		next.end()
		if t.Failed() {
			t.Log(strings.Join(w.logged(""), "\n"))
		}
	})
	return hit
}

// A retry by hand goes down the levels while its leaders die: whatever was asked for once happens once.
func TestCrashWhileARetryGoesDown(t *testing.T) {
	for _, point := range FaultPoints() {
		for n := 1; n <= 12 && crashRetry(t, point, n); n++ {
		}
	}
}

func crashRetry(t *testing.T, point string, n int) (hit bool) {
	t.Helper()
	fails := func(p *process) {
		p.exec.hold = func(s engine.Start) bool { return s.Task == "work" && s.Number == 1 }
		p.exec.afterStart = func(s engine.Start) error {
			if p.exec.hold(s) {
				p.exec.finish(s.Attempt, exited(1))
			}
			return nil
		}
	}
	retry := engine.Event{Kind: engine.Retry, Task: -1, Instance: -1, Generation: 2}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		fails(p)
		var armed atomic.Bool
		crash, was := crashAt(p, point, n)
		p.cfg.Fault = func(at string) {
			if armed.Load() {
				crash(at)
			}
		}
		p.launch()
		id := p.submit(levels(3))
		if head := p.wait(id); head.Status != workflow.RunFailed {
			t.Fatalf("the run is %s, want failed", head.Status)
		}
		armed.Store(true)
		err := p.s.Verb(p.ctx, id, retry)
		if err == nil {
			_, err = p.s.Wait(p.ctx, id)
		}
		if hit = was(); !hit && err != nil {
			t.Errorf("%s %d: %v", point, n, err)
		}
		p.cancel()
		<-p.ended
		next := newProcess(t, w)
		fails(next)
		next.launch()
		if err := next.s.Verb(next.ctx, id, retry); err != nil {
			t.Errorf("%s %d: the retry again: %v", point, n, err)
		}
		succeeded(t, next.wait(id))
		if len(w.runs) != 3 {
			t.Errorf("%s %d: %d runs, want the same 3", point, n, len(w.runs))
		}
		for run := range w.runs {
			next.see(run, func(_ *engine.Machine, s *engine.State) {
				if s.Head.Generation != 2 || s.Head.Status != workflow.RunSucceeded {
					t.Errorf("%s %d: %s is %s in generation %d, want succeeded in 2", point, n, s.Input.Workflow, s.Head.Status, s.Head.Generation)
				}
			})
		}
		ran := map[string]int{}
		for _, what := range w.onWorker() {
			if ran[what]++; ran[what] > 1 {
				t.Errorf("%s %d: %s ran twice", point, n, what)
			}
		}
		next.end()
	})
	return hit
}

func TestAThousandChildrenOfOneParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		id := p.submit(with(definition("outer", times(starts("sub", "inner"), 1000)), definition("inner", task("t"))))
		succeeded(t, p.wait(id))
		if len(w.begun) != 1000 || len(w.runs) != 1001 {
			t.Errorf("%d attempts of %d runs, want 1000 of 1001", len(w.begun), len(w.runs))
		}
		gracefully(t, p)
	})
}

func TestRunsNestOnlySoDeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		// A workflow that starts itself without end.
		p.cfg.Children = func(parent *workflow.Definition, _ workflow.ChildBody, _ workflow.RunValues) (ChildRun, error) {
			return ChildRun{Definition: parent, Evaluator: literals{}}, nil
		}
		p.launch()
		head := p.wait(p.submit(definition("self", starts("sub", "self"))))
		if head.Status != workflow.RunFailed {
			t.Errorf("got %s, want failed", head.Status)
		}
		if len(w.runs) != workflow.MaxRunDepth+1 {
			t.Errorf("%d runs, want %d below the first", len(w.runs), workflow.MaxRunDepth)
		}
		gracefully(t, p)
	})
}
