// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// answerLate lets every call wait until it is called off.
func answerLate(ctx context.Context, _ workflow.HTTPBody, _ string) engine.Outcome {
	<-ctx.Done()
	return engine.Outcome{Kind: engine.OutcomeKilled}
}

func (p *process) attempt(id workflow.RunID, task int) (past engine.Attempt) {
	p.t.Helper()
	p.see(id, func(_ *engine.Machine, s *engine.State) {
		if in := s.Instances[task][0]; len(in.Past) > 0 {
			past = in.Past[len(in.Past)-1]
		}
	})
	return past
}

func TestACallIsMadeByTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w).launch()
		id := p.submit(definition("w", calling("c", "POST")))
		succeeded(t, p.wait(id))
		if d := cmp.Diff([]string{string(workflow.MakeAttemptID(id, 0, 0, 1))}, w.called); d != "" {
			t.Errorf("called (-want +got):\n%s", d)
		}
		past := p.attempt(id, 0)
		if past.Verdict != workflow.VerdictSucceeded || string(past.Outputs["status"].JSON) != "200" || past.StartedAt == 0 {
			t.Errorf("the attempt is %+v, want it to have succeeded with its outputs", past)
		}
		if got := w.logged("start", "kill", "settle"); len(got) > 0 {
			t.Errorf("the executor was told %v of it", got)
		}
		gracefully(t, p)
	})
}

func TestAKillCallsOffACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		p.onCall = answerLate
		p.launch()
		def := definition("w", calling("c", "POST"))
		def.Tasks[0].Policy.Timeout = time.Minute
		id := p.submit(def)
		if head := p.wait(id); head.Status != workflow.RunFailed || p.attempt(id, 0).Verdict != workflow.VerdictTimedOut {
			t.Errorf("the run is %s, the attempt %s, want failed, and timed out", head.Status, p.attempt(id, 0).Verdict)
		}
		gracefully(t, p)
	})
}

// The admission bounds calls like other attempts.
func TestCallsAreAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		p.cfg.MaxInflight = 3
		var now, most atomic.Int32
		p.onCall = func(context.Context, workflow.HTTPBody, string) engine.Outcome {
			most.Store(max(most.Load(), now.Add(1)))
			pass(time.Second)
			now.Add(-1)
			return answered()
		}
		p.launch()
		succeeded(t, p.wait(p.submit(definition("w", times(calling("c", "GET"), 20)))))
		if most.Load() != 3 {
			t.Errorf("%d calls at once, want 3", most.Load())
		}
		gracefully(t, p)
	})
}

// What was under way when its leader went away is made again where that does no harm; otherwise nobody knows what came of
// it.
func TestACallInFlightAtATakeover(t *testing.T) {
	for method, want := range map[string]struct {
		calls  int
		status workflow.RunStatus
	}{"GET": {2, workflow.RunSucceeded}, "PUT": {2, workflow.RunSucceeded}, "POST": {1, workflow.RunFailed}, "PATCH": {1, workflow.RunFailed}} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := newProcess(t, w)
				p.onCall = answerLate
				p.launch()
				id := p.submit(definition("w", calling("c", method)))
				synctest.Wait()
				p.crash()
				<-p.ended
				next := newProcess(t, w).launch()
				head := next.wait(id)
				if head.Status != want.status || len(w.called) != want.calls {
					t.Errorf("the run is %s (%s) after %d calls, want %s after %d", head.Status, head.Reason, len(w.called), want.status, want.calls)
				}
				if want.status == workflow.RunFailed && !strings.Contains(next.attempt(id, 0).Message, "outcome unknown") {
					t.Errorf("the attempt says %q", next.attempt(id, 0).Message)
				}
				gracefully(t, next)
			})
		})
	}
}

// A state that has to be loaded anew does not make a call again: this process knows how it went.
func TestACallIsNotRepeatedWhenASaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newProcess(t, w)
		saves := 0
		p.onSave = func(workflow.RunID, []Record) (bool, error) {
			if saves++; saves%2 == 0 {
				return false, errors.New("no space left on device")
			}
			return true, nil
		}
		p.launch()
		id := p.submit(definition("w", calling("a", "POST"), calling("b", "POST", "a")))
		succeeded(t, p.wait(id))
		if len(w.called) != 2 {
			t.Errorf("called %v, want each once", w.called)
		}
		gracefully(t, p)
	})
}

func TestWithoutACallerCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newWorld())
		p.cfg.Caller = nil
		p.launch()
		id := p.submit(definition("w", calling("c", "GET")))
		if head := p.wait(id); head.Status != workflow.RunFailed || p.attempt(id, 0).Verdict != workflow.VerdictError {
			t.Errorf("the run is %s, the attempt %+v, want a refusal", head.Status, p.attempt(id, 0))
		}
		gracefully(t, p)
	})
}
