// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// existing is the start of an attempt of a job file with two groups, one of them twice. They restart and are placed again once.
func (r *rig) existing(first, second string, change ...func(*nomadapi.Job)) engine.Start {
	r.t.Helper()
	job := &nomadapi.Job{
		ID: ptr("etl"), Name: ptr("etl"), Type: ptr(nomadapi.JobTypeBatch),
		TaskGroups: []*nomadapi.TaskGroup{group("first", script("load", first, patient)), group("second", script("load", second, patient))},
	}
	job.TaskGroups[1].Count = ptr(2)
	for _, g := range job.TaskGroups {
		g.RestartPolicy = &nomadapi.RestartPolicy{Attempts: ptr(1), Delay: ptr(100 * time.Millisecond), Interval: ptr(time.Hour), Mode: ptr("fail")}
		g.ReschedulePolicy = &nomadapi.ReschedulePolicy{
			Attempts: ptr(1), Interval: ptr(time.Hour), Delay: ptr(5 * time.Second), DelayFunction: ptr("constant"), Unlimited: ptr(false),
		}
	}
	for _, c := range change {
		c(job)
	}
	s := r.job(job)
	s.Kind, s.WantOutput = workflow.BodyJob, false
	return s
}

// once fails at the first try of an allocation.
const once = `if test -e "$NOMAD_ALLOC_DIR/data/tried"; then exit 0; fi; touch "$NOMAD_ALLOC_DIR/data/tried"; exit 1`

func TestAgentExistingJobSucceeds(t *testing.T) {
	r := newRig(t)
	s := r.existing("echo first; "+once, "echo second $NOMAD_ALLOC_INDEX $NOMAD_JOB_NAME; env | grep ^CAIRN_ | grep -v TESTCLUSTER || true")
	r.begin(s)
	if got := r.kind(s.Attempt, engine.Started); got.Place.AllocID == "" {
		t.Errorf("started %+v, want an allocation", got)
	}
	exited(t, r.ended(s.Attempt), 0)
	req := scheduler.LogRequest{Attempt: s.Attempt, Place: r.kind(s.Attempt, engine.Ended).Place, Task: s.Task}
	for part, want := range map[string]string{
		"second/load": "second 0 etl\n", "second[1]/load": "second 1 etl\n", "first/load": "first\nfirst\n",
	} {
		req.Part = part
		if got := r.log(req); got != want {
			t.Errorf("the log of %s is %q, want %q", part, got, want)
		}
	}
	job, _, err := r.api().Jobs().Info(r.jobOf(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := job.TaskGroups[1]
	if *job.Name != "etl" || *g.RestartPolicy.Attempts != 1 || *g.ReschedulePolicy.Attempts != 1 || g.Disconnect != nil || *g.Count != 2 ||
		job.Meta[metaCluster] != r.exec.cfg.Cluster || *job.Priority != 50 {
		t.Errorf("job %s was changed: restart %d, reschedule %d, count %d, meta %v", *job.Name, *g.RestartPolicy.Attempts,
			*g.ReschedulePolicy.Attempts, *g.Count, job.Meta)
	}
}

func TestAgentExistingJobFails(t *testing.T) {
	r := newRig(t)
	s := r.existing("true", `test $NOMAD_ALLOC_INDEX = 0 || exit 3`)
	r.begin(s)
	o := r.ended(s.Attempt)
	exited(t, o, 3)
	if want := `group "second", allocation 2 of 2, placed 2 times: task "load" failed (exit code 3)`; o.Message != want {
		t.Errorf("message %q, want %q", o.Message, want)
	}
	allocs, _, err := r.api().Jobs().Allocations(r.jobOf(s), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(allocs) != 4 {
		t.Errorf("%d allocations, want 3 and the one that Nomad placed again", len(allocs))
	}
	req := scheduler.LogRequest{Attempt: s.Attempt, Place: r.kind(s.Attempt, engine.Ended).Place, Task: s.Task}
	if req.Place.AllocID == "" {
		t.Errorf("it ended at %+v, want the allocation that failed", req.Place)
	}

	broken := r.existing("true", "true", func(job *nomadapi.Job) {
		job.TaskGroups[0].Tasks[0].Config = map[string]any{"command": "/no/such/program"}
		job.TaskGroups[0].ReschedulePolicy = &nomadapi.ReschedulePolicy{Attempts: ptr(0), Unlimited: ptr(false)}
	})
	r.begin(broken)
	if o := r.ended(broken.Attempt); o.Kind != engine.OutcomeError || !strings.Contains(o.Message, `group "first": Driver Failure`) {
		t.Errorf("outcome %s, want an error of the first group's driver", show(o))
	}
}

func TestAgentExistingJobIsTakenUpAndKilled(t *testing.T) {
	r := newRig(t)
	s := r.existing(forever, forever)
	r.begin(s)
	r.kind(s.Attempt, engine.Started)
	adopting := r.again(t) // before the acceptance was saved
	adopting.begin(s)
	adopting.kind(s.Attempt, engine.Started)
	next := r.again(t) // after it
	s.Accepted, s.Place = r.kind(s.Attempt, engine.Accepted).Index, r.kind(s.Attempt, engine.Started).Place
	next.begin(s)
	next.kind(s.Attempt, engine.Started)
	next.kill(s)
	ofKind(t, next.ended(s.Attempt), engine.OutcomeKilled)
	if n := r.allOver(s, time.Now()); n != 3 {
		t.Errorf("%d allocations, want 3", n)
	}

	theirs := r.existing(forever, "true")
	r.begin(theirs)
	r.kind(theirs.Attempt, engine.Started)
	if _, _, err := r.api().Jobs().Deregister(r.jobOf(theirs), false, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(theirs.Attempt), engine.OutcomeInterrupted)

	never := r.existing(forever, forever)
	r.kill(never)
	ofKind(t, r.ended(never.Attempt), engine.OutcomeKilled)
	adopting.begin(never)
	ofKind(t, adopting.ended(never.Attempt), engine.OutcomeKilled)
}

func TestAgentExistingJobEndsWhileNobodyWatches(t *testing.T) {
	r := newRig(t)
	s := r.existing("exit 2", "true", func(job *nomadapi.Job) { job.TaskGroups[0].ReschedulePolicy.Attempts = ptr(0) })
	r.begin(s)
	exited(t, r.ended(s.Attempt), 2)
	next := r.again(t)
	s.Accepted, s.Body = r.kind(s.Attempt, engine.Accepted).Index, nil
	next.begin(s)
	if o := next.ended(s.Attempt); o.Message != `group "first": task "load" failed (exit code 2)` {
		t.Errorf("outcome %s", show(o))
	}
}

func TestAgentExistingJobOfWhichAGroupWaits(t *testing.T) {
	r := newRig(t)
	s := r.existing("true", "true", func(job *nomadapi.Job) {
		job.TaskGroups[0].Constraints = []*nomadapi.Constraint{nomadapi.NewConstraint("${attr.kernel.name}", "=", "plan9")}
		job.TaskGroups[1].Tasks[0].Resources.MemoryMB = ptr(900_000_000)
		job.TaskGroups = append(job.TaskGroups, group("third", script("load", "true")))
	})
	r.begin(s)
	got := r.kind(s.Attempt, engine.Held)
	for _, words := range []string{`group "first": none of 1 node can run it: constraint "${attr.kernel.name} = plan9"`, `group "second": none of 1 node can run it: memory`} {
		if !strings.Contains(got.Message, words) || !got.Impossible {
			t.Errorf("held %q (impossible %t), want %q", got.Message, got.Impossible, words)
		}
	}
	r.kill(s)
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
	if n := r.count(s.Attempt, engine.Started); n != 0 {
		t.Error("a job of which a group was never placed is told to have started")
	}
}

func TestAgentJobsThatNeverEndAreRefused(t *testing.T) {
	r := newRig(t)
	for words, change := range map[string]func(*nomadapi.Job){
		"of type service":  func(job *nomadapi.Job) { job.Type = nil },
		"of type system":   func(job *nomadapi.Job) { job.Type = ptr("system") },
		"is periodic":      func(job *nomadapi.Job) { job.Periodic = &nomadapi.PeriodicConfig{Spec: ptr("@daily")} },
		"is parameterized": func(job *nomadapi.Job) { job.ParameterizedJob = &nomadapi.ParameterizedJobConfig{} },
		"has no group":     func(job *nomadapi.Job) { job.TaskGroups = nil },
	} {
		s := r.existing("true", "true", change)
		r.begin(s)
		if o := r.ended(s.Attempt); o.Kind != engine.OutcomeInvalid || !strings.Contains(o.Message, words) {
			t.Errorf("outcome %s, want invalid: %s", show(o), words)
		}
	}
	if got := r.exec.Stats().Registers; got != 0 {
		t.Errorf("%d of them were registered", got)
	}
}
