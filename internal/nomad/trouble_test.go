// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// wantTrouble checks that a start failed as trouble, and whether it certainly did not happen.
func wantTrouble(t *testing.T, err error, notStarted bool, words string) {
	t.Helper()
	var trouble *scheduler.Trouble
	if !errors.As(err, &trouble) {
		t.Fatalf("error %v, want trouble", err)
	}
	if trouble.NotStarted != notStarted {
		t.Errorf("trouble %v: not started is %t, want %t", err, trouble.NotStarted, notStarted)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("trouble %q, want %q in it", err, words)
	}
}

func TestAgentRefusalsAndUnknownOutcomes(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	for _, c := range []struct {
		name       string
		at         string
		fault      fault
		notStarted bool
		words      string
	}{
		{"too many requests", reqRegister, fault{code: 429, text: "slow down"}, true, "slow down"},
		{"forbidden", reqRegister, fault{code: 403, text: "Permission denied"}, true, "Permission denied"},
		{"no leader", reqRegister, fault{code: 500, text: "No cluster leader"}, false, "No cluster leader"},
		{"no leader for the validation", reqValidate, fault{code: 500, text: "No cluster leader"}, false, "No cluster leader"},
		{"connection broken", reqRegister, fault{cut: true}, false, "register job"},
		{"answer lost", reqRegister, fault{after: true}, false, "register job"},
	} {
		s := r.shell("echo $CAIRN_TASK > $CAIRN_OUTPUT")
		s.Definition = c.name // validated each time
		p.on(c.at, c.fault)
		wantTrouble(t, r.exec.Start(r.ctx(), s), c.notStarted, c.words)
		if !c.notStarted && c.at == reqRegister {
			// What was unknown once stays unknown, however clearly the next try is refused.
			p.on(reqRegister, fault{code: 429, text: "slow down"})
			wantTrouble(t, r.exec.Start(r.ctx(), s), false, "slow down")
		}
		p.set(nil)
		r.begin(s)
		o := r.ended(s.Attempt)
		if exited(t, o, 0); string(o.Output) != "work\n" {
			t.Errorf("%s: output %q", c.name, o.Output)
		}
	}
	if got := r.exec.Stats(); got.Adoptions != 1 {
		t.Errorf("%d adoptions, want the one whose answer was lost", got.Adoptions)
	}
}

func TestAgentServerErrorIsTroubleAndNoVerdict(t *testing.T) {
	r := newRig(t)
	job := &nomadapi.Job{}
	if err := json.Unmarshal(r.shell("true").Body, job); err != nil {
		t.Fatal(err)
	}
	job.Region = ptr("nowhere")
	s := r.job(job)
	err := r.exec.Start(r.ctx(), s)
	wantTrouble(t, err, false, "No path to region")
	if n := r.count(s.Attempt, engine.Ended); n != 0 {
		t.Errorf("an error 500 became a verdict")
	}
}

func TestNomadUnreachableAtStart(t *testing.T) {
	address := unusedAddress(t)
	r := newRig(t, func(c *Config) { c.Address = address })
	s := r.shell("true")
	wantTrouble(t, r.exec.Start(r.ctx(), s), true, "connection refused")
	wantTrouble(t, r.exec.Kill(r.ctx(), s), false, "connection refused")

	// After a takeover nobody knows what the last leader sent.
	old := r.shell("true")
	old.IntentAt = workflow.At(time.Now().Add(-time.Minute))
	wantTrouble(t, r.exec.Start(r.ctx(), old), false, "connection refused")
}

func TestAgentNomadThatDoesNotAnswerIsGivenUpInTime(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through, func(c *Config) { c.CallTimeout = 200 * time.Millisecond })
	s := r.shell("true")
	p.on(reqValidate, fault{before: make(chan struct{})})
	wantTrouble(t, r.exec.Start(r.ctx(), s), false, "no answer from Nomad within 200ms")
}

func TestAgentTokenIsReadAgainWhenItIsRefused(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	var mu sync.Mutex
	valid := "old"
	p.set(func(req *http.Request) fault {
		mu.Lock()
		defer mu.Unlock()
		if req.Header.Get("X-Nomad-Token") != valid {
			return fault{code: 403, text: "Permission denied"}
		}
		req.Header.Del("X-Nomad-Token") // the agent behind has no access control
		return fault{}
	})
	r := newRig(t, p.through, func(c *Config) { c.TokenFile = file })
	exited(t, r.ended(r.begin(r.shell("true"))), 0)
	mu.Lock()
	valid = "new"
	mu.Unlock()
	refused := r.shell("true")
	wantTrouble(t, r.exec.Start(r.ctx(), refused), true, "Permission denied")
	write("new")
	p.cutStreams()
	r.begin(refused)
	exited(t, r.ended(refused.Attempt), 0)
}

func TestAgentUnknownOutcomeIsGivenUpAfterHalfAnHour(t *testing.T) {
	r := newRig(t)
	late := r.shell("echo ran > $CAIRN_OUTPUT")
	late.IntentAt = workflow.At(time.Now().Add(-31 * time.Minute))
	r.begin(late)
	o := r.ended(late.Attempt)
	if o.Kind != engine.OutcomeLost || o.Message != "outcome unknown" {
		t.Errorf("outcome %s, want lost, outcome unknown", show(o))
	}
	// The same again, by a leader that does not know of the first: the tombstone says it.
	next := r.again(t)
	next.begin(late)
	if o := next.ended(late.Attempt); o.Kind != engine.OutcomeLost || o.Message != "outcome unknown" {
		t.Errorf("second time: outcome %s, want lost, outcome unknown", show(o))
	}

	there := r.shell("echo ran > $CAIRN_OUTPUT")
	r.begin(there)
	r.ended(there.Attempt)
	there.IntentAt = late.IntentAt
	next.begin(there)
	exited(t, next.ended(there.Attempt), 0)
}

func TestAgentBodyThatCannotBeRenderedAgain(t *testing.T) {
	r := newRig(t)
	there, missing := r.shell("sleep 0.5"), r.shell("true")
	r.begin(there)
	r.kind(there.Attempt, engine.Started)
	next := r.again(t)
	there.Body, missing.Body = nil, nil
	next.begin(there)
	next.begin(missing)
	exited(t, next.ended(there.Attempt), 0)
	ofKind(t, next.ended(missing.Attempt), engine.OutcomeInvalid)

	accepted := r.shell("sleep 0.5")
	r.begin(accepted)
	accepted.Accepted = r.kind(accepted.Attempt, engine.Accepted).Index
	accepted.Body = nil
	next.begin(accepted)
	exited(t, next.ended(accepted.Attempt), 0)
}

func TestAgentEventStreamThatBreaksIsNoLoss(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	var ids []workflow.AttemptID
	for i := range 12 {
		ids = append(ids, r.begin(r.shell("sleep 0.2")))
		if i%3 == 2 {
			p.cutStreams()
		}
	}
	for _, id := range ids {
		exited(t, r.ended(id), 0)
		p.cutStreams()
	}
}

func TestAgentWithoutAnEventStreamListsTell(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	p.on(reqStream, fault{code: 500, text: "subscription closed"})
	r := newRig(t, p.through, func(c *Config) { c.ListEvery = 200 * time.Millisecond })
	good, bad := r.shell("echo x=1 > $CAIRN_OUTPUT"), r.shell("exit 2")
	big := r.shell("true", func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000_000) })
	r.begin(big)
	if got := r.kind(big.Attempt, engine.Held); !strings.Contains(got.Message, "memory") {
		t.Errorf("held %q, want it to name the memory", got.Message)
	}
	r.kill(big)
	ofKind(t, r.ended(big.Attempt), engine.OutcomeKilled)
	r.begin(good)
	r.begin(bad)
	o := r.ended(good.Attempt)
	if exited(t, o, 0); string(o.Output) != "x=1\n" {
		t.Errorf("output %q", o.Output)
	}
	exited(t, r.ended(bad.Attempt), 2)
}

func TestAgentPurgedJobIsLostAfterTwoLists(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	const apart = time.Second
	r := newRig(t, p.through, func(c *Config) { c.ListEvery, c.LostAfter = 200*time.Millisecond, apart })
	s := r.shell("sleep 300")
	r.begin(s)
	r.kind(s.Attempt, engine.Started)
	p.on(reqStream, fault{cut: true}) // no word of it but from lists
	p.cutStreams()
	purged := time.Now()
	if _, _, err := cluster.Nomad(t).Client().Jobs().Deregister(r.jobOf(s), true, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(s.Attempt), engine.OutcomeLost)
	if took := time.Since(purged); took < apart {
		t.Errorf("it was lost after %s, with two lists at least %s apart", took, apart)
	}
}

// Nomad's index is asked for while jobs are accepted: what was accepted in between is above the answer.
func TestAgentJobsAcceptedDuringAListAreNoRestore(t *testing.T) {
	var restored atomic.Int32
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through, func(c *Config) {
		c.ListEvery = 200 * time.Millisecond
		c.OnRestore = func(context.Context) { restored.Add(1) }
	})
	first := r.shell("sleep 300")
	r.begin(first)
	r.kind(first.Attempt, engine.Started)
	probe, compared := &answer{make(chan struct{}), make(chan struct{})}, make(chan struct{})
	var mu sync.Mutex
	asked, listed := false, false
	p.set(func(req *http.Request) fault {
		mu.Lock()
		defer mu.Unlock()
		switch name := requestName(req); {
		case name == reqJobs && req.URL.Query().Get("per_page") == "1" && !asked:
			asked = true
			return fault{answer: probe}
		case name == reqStatuses && asked && !listed:
			listed = true
			close(compared)
		}
		return fault{}
	})
	wait := func(c chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-r.ctx().Done():
			t.Fatal("no list")
		}
	}
	wait(probe.given)
	second := r.shell("sleep 300")
	r.begin(second)
	r.kind(second.Attempt, engine.Started)
	close(probe.arrives)
	wait(compared)
	if restored.Load() != 0 {
		t.Error("Nomad was taken for restored")
	}
	for _, s := range []engine.Start{first, second} {
		r.kill(s)
		ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
	}
}

func TestAgentCollectedFilesAreLostOutputs(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	held := make(chan struct{})
	p.on(reqOutput, fault{before: held})
	s := r.shell("echo x=1 > $CAIRN_OUTPUT")
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	api := cluster.Nomad(t).Client()
	r.over(place.AllocID, time.Now().Add(patience))
	answer, err := api.Raw().Response("/v1/client/allocation/"+place.AllocID+"/gc", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Close()
	close(held)
	o := r.ended(s.Attempt)
	exited(t, o, 0)
	if !o.OutputsLost || o.Output != nil {
		t.Errorf("outcome %s, want its outputs lost", show(o))
	}
	for _, follow := range []bool{false, true} {
		_, err = r.exec.Logs(r.ctx(), scheduler.LogRequest{Attempt: s.Attempt, Place: place, Task: s.Task, Follow: follow})
		if !errors.Is(err, scheduler.ErrGone) {
			t.Errorf("logs (follow %t): %v, want %v", follow, err, scheduler.ErrGone)
		}
	}
}

func TestAgentAtMostSixteenRegistrationsAtOnce(t *testing.T) {
	p := newProxy(t, cluster.Nomad(t).Address())
	r := newRig(t, p.through)
	first := r.shell("true")
	exited(t, r.ended(r.begin(first)), 0)
	open := make(chan struct{})
	p.on(reqRegister, fault{before: open})
	var group sync.WaitGroup
	for range 40 {
		s := r.shell("true")
		group.Go(func() {
			if err := r.exec.Start(r.ctx(), s); err != nil {
				t.Errorf("start: %v", err)
			}
		})
	}
	close(open)
	group.Wait()
	if most := p.mostAtOnce(reqRegister); most > maxRegistrations {
		t.Errorf("%d registrations at once, want at most %d", most, maxRegistrations)
	}
	if got := r.exec.Stats(); got.Registers != 41 || got.Validations != 1 {
		t.Errorf("calls %+v, want 41 registrations and one validation", got)
	}
}

func TestAgentsWithTheLeastOfRights(t *testing.T) {
	r, n := ownRig(t, testcluster.NomadConfig{ACL: true}, func(c *Config) {
		c.TokenFile = filepath.Join(t.TempDir(), "token")
	})
	policy := &nomadapi.ACLPolicy{Name: "cairn", Rules: `namespace "default" {
		capabilities = ["list-jobs", "read-job", "submit-job", "read-logs", "read-fs"]
	}`}
	if _, err := n.Client().ACLPolicies().Upsert(policy, nil); err != nil {
		t.Fatal(err)
	}
	token, _, err := n.Client().ACLTokens().Create(&nomadapi.ACLToken{Name: "cairn", Type: "client", Policies: []string{"cairn"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.exec.cfg.TokenFile, []byte(token.SecretID), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.shell("echo x=1 > $CAIRN_OUTPUT; echo on")
	s.WantStdout = true
	r.begin(s)
	o := r.ended(s.Attempt)
	if exited(t, o, 0); string(o.Output) != "x=1\n" || string(o.Stdout) != "on\n" {
		t.Errorf("outcome %s", show(o))
	}
	running := r.shell("echo on; sleep 300")
	r.begin(running)
	r.settleTrap(running)
	if swept, err := r.exec.Sweep(r.ctx(), func(workflow.AttemptID) Fate { return FateUnknown }); err != nil || len(swept.Orphans) != 1 {
		t.Errorf("sweep found %d orphans (%v), want the one that runs", len(swept.Orphans), err)
	}
	r.kill(running)
	ofKind(t, r.ended(running.Attempt), engine.OutcomeKilled)

	if _, err := n.Client().Namespaces().Register(&nomadapi.Namespace{Name: "other"}, nil); err != nil {
		t.Fatal(err)
	}
	elsewhere := r.shell("true")
	elsewhere.Namespace = "other"
	wantTrouble(t, r.exec.Start(r.ctx(), elsewhere), true, "Permission denied")
}
