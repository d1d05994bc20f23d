// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"
	"pgregory.net/rapid"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

const (
	testCluster = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
	testRun     = workflow.RunID("2abcdefghijklmnopqrs")
)

func TestJobID(t *testing.T) {
	id, err := jobID(testCluster, workflow.MakeAttemptID(testRun, 7, 123456, 12), "load_Orders")
	if want := "cairn-0b1c-2abcdefghijklmnopqrs-load-orders-0007-123456-012x"; err != nil || id != want {
		t.Errorf("job ID %q (%v), want %q", id, err, want)
	}
	if _, err := jobID(testCluster, "nonsense", "task"); err == nil {
		t.Error("nonsense has a job ID")
	}
}

func TestNoJobIDIsAPrefixOfAnother(t *testing.T) {
	draw := func(t *rapid.T, label string) (string, workflow.AttemptID) {
		task := rapid.StringMatching(`[a-z][a-z0-9_-]{0,62}`).Draw(t, label+" task")
		attempt := workflow.MakeAttemptID(testRun, rapid.IntRange(0, workflow.MaxTasks-1).Draw(t, label+" no"),
			rapid.IntRange(0, workflow.MaxInstances-1).Draw(t, label+" instance"), rapid.IntRange(1, workflow.MaxAttemptNumber).Draw(t, label+" attempt"))
		id, err := jobID(testCluster, attempt, task)
		if err != nil {
			t.Fatal(err)
		}
		return id, attempt
	}
	rapid.Check(t, func(t *rapid.T) {
		a, attempt := draw(t, "first")
		b, _ := draw(t, "second")
		if a != b && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
			t.Fatalf("%q and %q: one is a prefix of the other", a, b)
		}
		if len(a) > 128 || strings.Trim(a, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Fatalf("job ID %q is too long or has other characters", a)
		}
		if back, ok := parseJobID(testCluster, a); !ok || back != attempt {
			t.Fatalf("job ID %q is of attempt %q, read back %q (%t)", a, attempt, back, ok)
		}
	})
}

func TestParseJobIDRefusesOthers(t *testing.T) {
	for _, id := range []string{"", "cairn", "cairn-0b1c-", "web", "cairn-ffff-2abcdefghijklmnopqrs-a-0007-123456-012x",
		"cairn-0b1c-2abcdefghijklmnopqrs-a-0007-123456-012", "cairn-0b1c-2ABCdefghijklmnopqrs-a-0007-123456-012x"} {
		if got, ok := parseJobID(testCluster, id); ok {
			t.Errorf("%q passes for a job of attempt %s", id, got)
		}
	}
}

func TestJobName(t *testing.T) {
	for want, s := range map[string]engine.Start{
		"nightly/load #1":       {Workflow: "nightly", Task: "load", Number: 1},
		"nightly/load[eu] #12":  {Workflow: "nightly", Task: "load", Key: "eu", Number: 12},
		"nightly/load[a_b_] #1": {Workflow: "nightly", Task: "load", Key: "a\x00b\n", Number: 1},
	} {
		if got := jobName(s); got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

// TestCompletedJob compares with a file: what Cairn makes of a body is seen by operators, and a change of it must be meant.
func TestCompletedJob(t *testing.T) {
	body := `{"TaskGroups": [{"Name": "load", "RestartPolicy": {"Attempts": 5}, "Tasks": [{
		"Name": "load", "Driver": "exec", "Config": {"command": "load"}, "Env": {"A": "b", "CAIRN_TASK": "theirs"},
		"KillTimeout": 30000000000, "RestartPolicy": {"Attempts": 3},
		"Templates": [{"DestPath": "a"}, {"DestPath": "b", "ChangeMode": "signal"}]}]}],
		"Meta": {"team": "data", "cairn_run": "theirs"}}`
	s := engine.Start{
		Attempt: workflow.MakeAttemptID(testRun, 7, 2, 3), Run: testRun, Workflow: "nightly", Definition: "sha256:def",
		Namespace: "etl", Priority: 70, Task: "load", TaskNo: 7, Instance: 2, Key: "${node.datacenter}", Number: 3, Generation: 2,
		Epoch: 5, Fence: 1234, Body: []byte(body), BodyHash: "sha256:body", AvoidNodes: []string{"n1"},
		OnWorkerLoss: workflow.OnWorkerLoss{Mode: workflow.WaitForStop, StopAfter: 5 * time.Minute},
	}
	job, err := decodeBody(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := jobID(testCluster, s.Attempt, s.Task)
	if err != nil {
		t.Fatal(err)
	}
	complete(job, testCluster, id, s)
	got, err := json.MarshalIndent(slim(t, job), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "job.json")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("job (-want +got); UPDATE=1 writes the file:\n%s", diff)
	}

	s.OnWorkerLoss.Mode = workflow.Immediate
	again, err := decodeBody(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	complete(again, testCluster, id, s)
	if again.TaskGroups[0].Disconnect != nil {
		t.Error("an idempotent task's job has a disconnect block")
	}
}

// slim drops fields without a value: there are a hundred of them.
func slim(t *testing.T, job *nomadapi.Job) any {
	t.Helper()
	b, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return prune(v)
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = prune(e); e == nil || e == "" {
				delete(v, k)
			} else {
				v[k] = e
			}
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	}
	return v
}

func TestBodiesThatAreNone(t *testing.T) {
	for _, body := range []string{"", "{", "{}", `{"TaskGroups": [{}]}`, `{"TaskGroups": [{"Tasks": [{}]}, {"Tasks": [{}]}]}`} {
		if _, err := decodeBody(engine.Start{Task: "load", Body: []byte(body)}, nil); err == nil || !strings.Contains(err.Error(), "task load") {
			t.Errorf("body %q: error %v, want one about task load", body, err)
		}
	}
}

func TestMainTasks(t *testing.T) {
	hook := func(name string) *nomadapi.Task {
		return &nomadapi.Task{Name: name, Lifecycle: &nomadapi.TaskLifecycle{Hook: nomadapi.TaskLifecycleHookPrestart}}
	}
	group := &nomadapi.TaskGroup{Tasks: []*nomadapi.Task{hook("setup"), {Name: "a"}, {Name: "b", KillTimeout: ptr(time.Minute)}}}
	if diff := cmp.Diff([]string{"a", "b"}, mains(group)); diff != "" {
		t.Errorf("main tasks (-want +got):\n%s", diff)
	}
	if got := killTimeout(&nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{group}}); got != time.Minute {
		t.Errorf("kill timeout %s, want a minute", got)
	}
	group.Tasks[1].Leader = true
	if diff := cmp.Diff([]string{"a"}, mains(group)); diff != "" {
		t.Errorf("main tasks with a leader (-want +got):\n%s", diff)
	}
}
