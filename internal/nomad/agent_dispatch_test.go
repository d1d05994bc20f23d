// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

const reqDispatch = "PUT /v1/job/dispatch"

// parent registers a job whose script reads its payload and the meta "day".
func (r *rig) parent(text string) string {
	return r.parameterized(&nomadapi.ParameterizedJobConfig{Payload: "optional", MetaRequired: []string{"day"}, MetaOptional: []string{"rate"}},
		script("load", text, patient, func(task *nomadapi.Task) { task.DispatchPayload = &nomadapi.DispatchPayloadConfig{File: "input"} }))
}

// dispatching is the start of an attempt that dispatches a job.
func (r *rig) dispatching(body workflow.DispatchBody) engine.Start {
	r.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	s := r.job(&nomadapi.Job{})
	s.Kind, s.Body, s.WantOutput = workflow.BodyDispatch, b, false
	return s
}

// childrenOf lists what was dispatched of a parent.
func (r *rig) childrenOf(parent string) []*nomadapi.JobListStub {
	r.t.Helper()
	list, _, err := r.api().Jobs().PrefixList(parent + dispatchInfix)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

func day(parent string) workflow.DispatchBody {
	return workflow.DispatchBody{Job: parent, Meta: map[string]string{"day": "monday"}}
}

func TestAgentDispatch(t *testing.T) {
	r := newRig(t)
	body := day(r.parent(`echo "$NOMAD_META_day $(cat local/input)"`))
	body.Payload = []byte("hello")
	s := r.dispatching(body)
	r.begin(s)
	accepted := r.kind(s.Attempt, engine.Accepted)
	if id, ok := parseChildID(r.exec.cfg.Cluster, accepted.Place.JobID); !ok || id != s.Attempt || accepted.Index == 0 {
		t.Errorf("accepted %+v, want the child's ID and an index", accepted)
	}
	exited(t, r.ended(s.Attempt), 0)
	req := scheduler.LogRequest{Attempt: s.Attempt, Place: r.kind(s.Attempt, engine.Ended).Place, Task: s.Task}
	if got := r.log(req); got != "monday hello\n" {
		t.Errorf("the log of the child is %q", got)
	}
	r.exec.Settle(r.ctx(), s.Attempt)
	req.Place = engine.Place{}
	if got := r.log(req); got != "monday hello\n" {
		t.Errorf("the log of the child by its attempt alone is %q", got)
	}

	failing := r.dispatching(day(r.parent("exit 3")))
	r.begin(failing)
	o := r.ended(failing.Attempt)
	if exited(t, o, 3); o.Message != `group "work": task "load" failed (exit code 3)` {
		t.Errorf("message %q", o.Message)
	}
}

func TestAgentDispatchIsRepeatedAndTakenUp(t *testing.T) {
	r := newRig(t)
	parent := r.parent(`until test -e "$NOMAD_ALLOC_DIR/data/go"; do sleep 0.05; done; exit 5`)
	s := r.dispatching(day(parent))
	r.begin(s)
	r.begin(s)
	second := r.again(t) // before the acceptance was saved
	second.begin(s)
	third := r.again(t) // after it
	s.Accepted, s.Place = r.kind(s.Attempt, engine.Accepted).Index, r.kind(s.Attempt, engine.Accepted).Place
	third.begin(s)
	touch(t, third.kind(s.Attempt, engine.Started).Place.AllocID, "load")
	for _, rig := range []*rig{r, second, third} {
		exited(t, rig.ended(s.Attempt), 5)
	}
	if n := len(r.childrenOf(parent)); n != 1 {
		t.Errorf("%d children of one attempt", n)
	}
	bodiless := r.again(t)
	s.Accepted, s.Place, s.Body = 0, engine.Place{}, nil
	bodiless.begin(s)
	exited(t, bodiless.ended(s.Attempt), 5)
}

func TestAgentDispatchWhoseAnswerIsLost(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	parent := r.parent("exit 4")
	s := r.dispatching(day(parent))
	p.on(reqDispatch, fault{after: true})
	wantTrouble(t, r.exec.Start(r.ctx(), s), false, "dispatch job "+parent)
	// The child is found by its prefix: nothing is dispatched any more.
	p.on(reqDispatch, fault{code: 500, text: "not to be asked"})
	r.begin(s)
	exited(t, r.ended(s.Attempt), 4)
	if n := len(r.childrenOf(parent)); n != 1 {
		t.Errorf("%d children of one attempt", n)
	}

	refused := r.dispatching(day(parent))
	p.on(reqDispatch, fault{code: 429, text: "slow down"})
	wantTrouble(t, r.exec.Start(r.ctx(), refused), true, "slow down")
	p.on(reqDispatch, fault{code: 500, text: "No cluster leader"})
	wantTrouble(t, r.exec.Start(r.ctx(), refused), false, "No cluster leader")
	p.set(nil)
	r.begin(refused)
	exited(t, r.ended(refused.Attempt), 4)
}

func TestAgentDispatchMadeTwice(t *testing.T) {
	r := newRig(t)
	parent := r.parent(forever)
	s := r.dispatching(day(parent))
	// By a Nomad before 1.11.2 that two leaders asked at once: there the token does not keep them apart.
	for range 2 {
		_, _, err := r.api().Jobs().Dispatch(parent, map[string]string{"day": "monday"}, nil, r.jobOf(s), nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	s.IntentAt = workflow.At(time.Now().Add(-time.Minute))
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	children := r.childrenOf(parent)
	if len(children) != 2 {
		t.Fatalf("%d children, want the two", len(children))
	}
	for _, child := range children {
		oldest := child.CreateIndex == min(children[0].CreateIndex, children[1].CreateIndex)
		if oldest == child.Stop || oldest != (child.ID == place.JobID) {
			t.Errorf("child %s (the oldest: %t) is stopped: %t; the attempt runs as %s", child.ID, oldest, child.Stop, place.JobID)
		}
	}
	r.kill(s)
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
}

func TestAgentDispatchIsRefused(t *testing.T) {
	r := newRig(t)
	parent := r.parent("true")
	plain := r.shell("true")
	r.begin(plain)
	r.ended(plain.Attempt)
	stopped := r.parent("true")
	if _, _, err := r.api().Jobs().Deregister(stopped, false, nil); err != nil {
		t.Fatal(err)
	}
	forbids := r.parameterized(&nomadapi.ParameterizedJobConfig{Payload: "forbidden"}, script("load", "true"))
	requires := r.parameterized(&nomadapi.ParameterizedJobConfig{Payload: "required"}, script("load", "true"))
	for words, body := range map[string]workflow.DispatchBody{
		"parameterized job not found":                  {Job: "nothing"},
		"is not a parameterized job":                   {Job: r.jobOf(plain)},
		"is stopped":                                   day(stopped),
		"did not provide required meta keys: [day]":    {Job: parent},
		"unpermitted metadata keys: [dy]":              {Job: parent, Meta: map[string]string{"day": "1", "dy": "2"}},
		"Payload provided but forbidden":               {Job: forbids, Payload: []byte("x")},
		"Payload is not provided but required":         {Job: requires},
		"Payload exceeds maximum size; 16385 > 16384":  {Job: requires, Payload: make([]byte, maxPayload+1)},
		"dispatch job priority must be between [1, 10": {Job: requires, Payload: []byte("x"), Priority: 1000},
		"the dispatch of task work: it names no job":   {},
	} {
		s := r.dispatching(body)
		r.begin(s)
		o := r.ended(s.Attempt)
		if o.Kind != engine.OutcomeInvalid || !strings.Contains(o.Message, words) {
			t.Errorf("outcome %s, want invalid: %s", show(o), words)
		}
		if place := r.kind(s.Attempt, engine.Ended).Place; place != (engine.Place{}) {
			t.Errorf("%s: it has a place: %+v", words, place)
		}
	}
}

func TestAgentDispatchIsKilled(t *testing.T) {
	r := newRig(t)
	parent := r.parent(forever)
	running := r.dispatching(day(parent))
	r.begin(running)
	r.settleTrap(running)
	next := r.again(t) // it does not know the child
	next.kill(running)
	ofKind(t, next.ended(running.Attempt), engine.OutcomeKilled)
	ofKind(t, r.ended(running.Attempt), engine.OutcomeInterrupted) // for the deposed one somebody else did it

	never := r.dispatching(day(r.parent(forever)))
	r.kill(never) // just decided: nobody has tried
	ofKind(t, r.ended(never.Attempt), engine.OutcomeKilled)
	r.begin(never)
	ofKind(t, r.ended(never.Attempt), engine.OutcomeKilled)
	if place := r.kind(never.Attempt, engine.Ended).Place; place.JobID != "" {
		t.Errorf("it has a job: %+v", place)
	}

	nowhere := r.dispatching(workflow.DispatchBody{Job: r.parameterized(&nomadapi.ParameterizedJobConfig{}, script("load", "true", func(task *nomadapi.Task) {
		task.Constraints = []*nomadapi.Constraint{nomadapi.NewConstraint("${attr.kernel.name}", "=", "plan9")}
	}))})
	r.begin(nowhere)
	if got := r.kind(nowhere.Attempt, engine.Held); !strings.Contains(got.Message, "plan9") || !got.Impossible {
		t.Errorf("held %q (impossible %t), want that no node fits", got.Message, got.Impossible)
	}
	r.kill(nowhere)
	ofKind(t, r.ended(nowhere.Attempt), engine.OutcomeKilled)

	theirs := r.dispatching(day(parent))
	r.begin(theirs)
	r.settleTrap(theirs)
	if _, _, err := r.api().Jobs().Deregister(r.kind(theirs.Attempt, engine.Accepted).Place.JobID, false, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(theirs.Attempt), engine.OutcomeInterrupted)
}

func TestAgentDispatchThatComesAfterItsKillIsStopped(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CallTimeout = 4 * time.Second })
	parent := r.parent(forever)
	s := r.dispatching(day(parent))
	s.IntentAt = workflow.At(time.Now().Add(-time.Minute))
	r.kill(s)
	if n := r.count(s.Attempt, engine.Ended); n != 0 {
		t.Fatal("a dispatch that somebody may have under way is told to be over")
	}
	// The leader before is slow.
	options := &nomadapi.WriteOptions{IdempotencyToken: dispatchToken(r.exec.cfg.Cluster, s.Attempt)}
	_, _, err := r.api().Jobs().DispatchOpts(&nomadapi.DispatchOptions{
		JobID: parent, Meta: map[string]string{"day": "monday"}, IdPrefixTemplate: r.jobOf(s),
	}, options)
	if err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
	children := r.childrenOf(parent)
	if len(children) != 1 || !children[0].Stop {
		t.Errorf("children %+v, want one that is stopped", children)
	}

	nothing := r.dispatching(day(parent))
	nothing.IntentAt = s.IntentAt
	began := time.Now()
	r.kill(nothing)
	ofKind(t, r.ended(nothing.Attempt), engine.OutcomeKilled)
	if took := time.Since(began); took < 8*time.Second {
		t.Errorf("barred after %s, while a call takes up to 4s to each side", took)
	}
	old := r.dispatching(day(parent))
	old.IntentAt = workflow.At(time.Now().Add(-time.Hour))
	r.begin(old)
	if o := r.ended(old.Attempt); o.Kind != engine.OutcomeLost || o.Message != tombUnknown {
		t.Errorf("outcome %s, want lost: %s", show(o), tombUnknown)
	}
}

func TestAgentDispatchIsSwept(t *testing.T) {
	r := newRig(t)
	parent := r.parent(forever)
	s := r.dispatching(day(parent))
	r.begin(s)
	r.kind(s.Attempt, engine.Started)
	fate := func(f Fate) func(workflow.AttemptID) Fate {
		return func(id workflow.AttemptID) Fate {
			if id == s.Attempt {
				return f
			}
			return FateActive
		}
	}
	meets := func(orphans []Orphan, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		return len(orphans) == 1 && orphans[0].Attempt == s.Attempt && strings.HasPrefix(orphans[0].JobID, parent)
	}
	stranger := r.again(t) // it does not know the parent: its first sweep looks everywhere, as a list of orphans always does
	for _, c := range []struct {
		exec *Executor
		want []bool
	}{{r.exec, []bool{true, true}}, {stranger.exec, []bool{true, false}}} {
		for i, want := range c.want {
			swept, err := c.exec.Sweep(r.ctx(), fate(FateUnknown))
			if meets(swept.Orphans, err) != want {
				t.Errorf("sweep %d met the orphans %+v; want the child: %t", i+1, swept.Orphans, want)
			}
		}
		if orphans, err := c.exec.Orphans(r.ctx(), fate(FateUnknown)); !meets(orphans, err) {
			t.Errorf("orphans %+v, want the child", orphans)
		}
	}
	swept, err := r.exec.Sweep(r.ctx(), fate(FateOver))
	if err != nil || swept.Stopped != 1 {
		t.Errorf("%d jobs stopped (%v), want the child", swept.Stopped, err)
	}
	ofKind(t, r.ended(s.Attempt), engine.OutcomeInterrupted)

	place := r.kind(s.Attempt, engine.Ended).Place
	r.exec.Settle(r.ctx(), s.Attempt)
	r.exec.mu.Lock()
	r.exec.purges.entries[0].at = time.Now().Add(-24 * time.Hour)
	r.exec.mu.Unlock()
	if n, err := r.exec.Purge(r.ctx(), fate(FateOver)); err != nil || n != 1 {
		t.Errorf("%d jobs purged (%v), want the child", n, err)
	}
	if _, _, err := r.api().Jobs().Info(place.JobID, nil); answered(explain(err)) != http.StatusNotFound {
		t.Errorf("the child after it was purged: %v", err)
	}
}

func TestParseChildID(t *testing.T) {
	const child = "etl/dispatch-cairn-0b1c-2abcdefghijklmnopqrs-load-orders-0007-123456-012x-1700000000-0a1b2c3d"
	if id, ok := parseChildID(testCluster, child); !ok || id != workflow.MakeAttemptID(testRun, 7, 123456, 12) {
		t.Errorf("%q is of attempt %q (%t)", child, id, ok)
	}
	for _, other := range []string{"", "etl", "etl/dispatch-1700000000-0a1b2c3d", "etl/dispatch-", strings.Replace(child, "0b1c", "ffff", 1),
		strings.TrimSuffix(child, "-0a1b2c3d"), strings.Replace(child, "/dispatch-", "/periodic-", 1)} {
		if id, ok := parseChildID(testCluster, other); ok {
			t.Errorf("%q passes for a child of attempt %s", other, id)
		}
	}
}
