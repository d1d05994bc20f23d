// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/workflow"
)

const runID = workflow.RunID("abcdefghijklmnopqrst")

func at(second int) workflow.Time {
	return workflow.At(time.Date(2026, 1, 31, 12, 0, second, 5, time.UTC))
}

func value(text string) workflow.Value { return workflow.Value{JSON: json.RawMessage(text)} }

func secret(text string) workflow.Value {
	return workflow.Value{JSON: json.RawMessage(text), Sensitive: true}
}

func ptr[T any](v T) *T { return &v }

// nightly is the run of the example in the contract of the interface: one fan-out with one instance, one attempt.
func nightly(t *testing.T) (*engine.Machine, *engine.State) {
	t.Helper()
	def := &workflow.Definition{
		Name:   "nightly_orders",
		Params: []workflow.Param{{Name: "day"}},
		Tasks: []workflow.Task{{
			Name: "extract", Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess, BodyKind: workflow.BodyTask,
			ForEach: &workflow.Expr{}, Outputs: []workflow.Output{{Name: "rows"}},
		}},
	}
	return machine(t, def), &engine.State{
		Input: engine.Input{
			Run: runID, Workflow: "nightly_orders", Definition: "sha256:00", Namespace: "default", Trigger: "manual",
			Params: map[string]workflow.Value{"day": value(`"2026-01-31"`)}, CreatedAt: at(0),
		},
		Head: engine.Head{Status: workflow.RunSucceeded, Generation: 1, StartedAt: at(1), EndedAt: at(9)},
		Tasks: []*engine.TaskState{{
			Status: workflow.Succeeded, Expanded: true, Size: 1, Begun: 1, BeganAt: at(1), EndedAt: at(8),
		}},
		Instances: [][]*engine.Instance{{{
			Status: workflow.Succeeded, Number: 1, EndedAt: at(8),
			Past: []engine.Attempt{{
				Number: 1, Verdict: workflow.VerdictSucceeded, ExitCode: ptr(0),
				Place:    engine.Place{Node: "n1", JobID: "j1", AllocID: "a1"},
				QueuedAt: at(2), StartedAt: at(3), EndedAt: at(8),
				Outputs: map[string]workflow.Value{"rows": value("42")},
			}},
		}}},
		Expansions: []*engine.Expansion{{Keys: []string{"eu"}, Values: []workflow.Value{value(`"eu"`)}}},
	}
}

func machine(t *testing.T, def *workflow.Definition) *engine.Machine {
	t.Helper()
	m, err := engine.New(def, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheRunDocumentIsTheOneOfTheContract(t *testing.T) {
	got, err := json.MarshalIndent(httpapi.Document(nightly(t)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "id": "abcdefghijklmnopqrst",
  "workflow": "nightly_orders",
  "namespace": "default",
  "definition": "sha256:00",
  "generation": 1,
  "status": "succeeded",
  "reason": "",
  "trigger": {
    "kind": "manual"
  },
  "params": {
    "day": "2026-01-31"
  },
  "labels": {},
  "created_at": "2026-01-31T12:00:00.000000005Z",
  "started_at": "2026-01-31T12:00:01.000000005Z",
  "ended_at": "2026-01-31T12:00:09.000000005Z",
  "outputs": {},
  "tasks": [
    {
      "name": "extract",
      "kind": "task",
      "body": "task",
      "status": "succeeded",
      "reason": "",
      "recovered": false,
      "outputs": null,
      "started_at": "2026-01-31T12:00:01.000000005Z",
      "ended_at": "2026-01-31T12:00:08.000000005Z",
      "instances": [
        {
          "key": "eu",
          "index": 0,
          "status": "succeeded",
          "reason": "",
          "outputs": {
            "rows": 42
          },
          "started_at": "2026-01-31T12:00:03.000000005Z",
          "ended_at": "2026-01-31T12:00:08.000000005Z",
          "attempts": [
            {
              "number": 1,
              "verdict": "succeeded",
              "exit_code": 0,
              "signal": 0,
              "oom": false,
              "message": "",
              "node": "n1",
              "job_id": "j1",
              "alloc_id": "a1",
              "queued_at": "2026-01-31T12:00:02.000000005Z",
              "started_at": "2026-01-31T12:00:03.000000005Z",
              "ended_at": "2026-01-31T12:00:08.000000005Z"
            }
          ]
        }
      ]
    }
  ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

// plainRun is a run of plain tasks in the given states, with edges in a row.
func plainRun(t *testing.T, status workflow.RunStatus, tasks []workflow.Task, states []*engine.TaskState, instances [][]*engine.Instance) *api.Run {
	t.Helper()
	def := &workflow.Definition{Name: "w", Tasks: tasks}
	s := &engine.State{
		Input: engine.Input{Run: runID, Workflow: "w"}, Head: engine.Head{Status: status}, Tasks: states, Instances: instances,
		Expansions: make([]*engine.Expansion, len(tasks)),
	}
	return httpapi.Document(machine(t, def), s)
}

func plainTask(name string, after ...string) workflow.Task {
	return workflow.Task{Name: name, Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess, DependsOn: after}
}

func TestATaskThatNeverStartedHasNoAttempts(t *testing.T) {
	run := plainRun(t, workflow.RunSucceeded, []workflow.Task{plainTask("a")},
		[]*engine.TaskState{{Status: workflow.Skipped, Reason: "when is false", EndedAt: at(4)}}, make([][]*engine.Instance, 1))
	want := []api.Instance{{Status: "skipped", Reason: "when is false", EndedAt: at(4).Time(), Attempts: []api.Attempt{}}}
	if diff := cmp.Diff(want, run.Tasks[0].Instances); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
}

func TestAPendingTaskSaysWhatItWaitsFor(t *testing.T) {
	last := plainTask("last", "a", "b", "c", "d", "e")
	final := workflow.Task{Name: "report", Kind: workflow.KindFinally, TriggerRule: workflow.AllSuccess}
	tasks := []workflow.Task{
		plainTask("a"), plainTask("b"), plainTask("c"), plainTask("d"), plainTask("e"), plainTask("two", "a", "b"), last, final,
	}
	states := make([]*engine.TaskState, len(tasks))
	for n := range states {
		states[n] = &engine.TaskState{Status: workflow.Pending}
	}
	states[0].Status = workflow.Succeeded
	run := plainRun(t, workflow.RunRunning, tasks, states, make([][]*engine.Instance, len(tasks)))
	for name, want := range map[string]string{
		"b": "", "two": "waits for b", "last": "waits for b, c, d and 1 more", "report": "waits for the end of the tasks",
	} {
		for _, task := range run.Tasks {
			if task.Name == name && task.Reason != want {
				t.Errorf("%s: reason %q, want %q", name, task.Reason, want)
			}
		}
	}
}

func TestARecoveredTaskSaysSo(t *testing.T) {
	handler := plainTask("catch", "load")
	handler.TriggerRule, handler.Recovers = workflow.OneFailed, true
	run := plainRun(t, workflow.RunSucceeded, []workflow.Task{plainTask("load"), handler},
		[]*engine.TaskState{{Status: workflow.Failed}, {Status: workflow.Succeeded}}, make([][]*engine.Instance, 2))
	if !run.Tasks[0].Recovered || run.Tasks[1].Recovered {
		t.Errorf("recovered: load %t, catch %t; want only load", run.Tasks[0].Recovered, run.Tasks[1].Recovered)
	}
}

func TestTheAttemptInFlightIsInTheDocument(t *testing.T) {
	task := plainTask("a")
	run := plainRun(t, workflow.RunRunning, []workflow.Task{task}, []*engine.TaskState{{Status: workflow.Running, Begun: 1}},
		[][]*engine.Instance{{{
			Status: workflow.Running, Number: 2, QueuedAt: at(5),
			Past:    []engine.Attempt{{Number: 1, Verdict: workflow.VerdictFailed, ExitCode: ptr(3), StartedAt: at(2), EndedAt: at(4)}},
			Current: &engine.Current{StartedAt: at(6), Place: engine.Place{Node: "n2", PID: 77}, Kill: workflow.VerdictTimedOut, KillWhy: "timeout of 1s"},
		}}})
	want := []api.Attempt{
		{Number: 1, Verdict: "failed", ExitCode: ptr(3), StartedAt: at(2).Time(), EndedAt: at(4).Time()},
		{
			Number: 2, Message: "is being stopped: timeout of 1s", Node: "n2", PID: 77,
			QueuedAt: at(5).Time(), StartedAt: at(6).Time(),
		},
	}
	if diff := cmp.Diff(want, run.Tasks[0].Instances[0].Attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestSensitiveValuesStayInside(t *testing.T) {
	def := &workflow.Definition{
		Name:    "w",
		Params:  []workflow.Param{{Name: "token", Sensitive: true}, {Name: "open"}},
		Outputs: []workflow.RunOutput{{Name: "key", Sensitive: true}},
		Tasks: []workflow.Task{{
			Name: "a", Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess,
			Outputs: []workflow.Output{{Name: "password", Sensitive: true}, {Name: "derived"}, {Name: "default", Default: ptr(value("7"))}, {Name: "none"}},
		}},
	}
	s := &engine.State{
		Input: engine.Input{Run: runID, Params: map[string]workflow.Value{"token": value(`"hunter1"`), "open": value("1")}},
		Head:  engine.Head{Status: workflow.RunSucceeded, Outputs: map[string]workflow.Value{"key": value(`"hunter2"`)}},
		Tasks: []*engine.TaskState{{Status: workflow.Succeeded, Begun: 1, Size: 1, Expanded: true}},
		Instances: [][]*engine.Instance{{{Status: workflow.Succeeded, Number: 1, Past: []engine.Attempt{{
			Number: 1, Verdict: workflow.VerdictSucceeded,
			Outputs: map[string]workflow.Value{"password": value(`"hunter3"`), "derived": secret(`"hunter4"`)},
		}}}}},
		Expansions: make([]*engine.Expansion, 1),
	}
	run := httpapi.Document(machine(t, def), s)
	got, err := json.Marshal([]any{run.Params, run.Outputs, run.Tasks[0].Outputs})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"open":1,"token":"(sensitive)"},{"key":"(sensitive)"},` +
		`{"default":7,"derived":"(sensitive)","none":null,"password":"(sensitive)"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// manyShards is a fan-out of 1,000, of which some have begun.
func manyShards(t *testing.T) (*engine.Machine, *engine.State) {
	t.Helper()
	def := &workflow.Definition{Name: "w", Tasks: []workflow.Task{{
		Name: "shard", Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess, Count: &workflow.Expr{},
	}}}
	s := &engine.State{
		Input: engine.Input{Run: runID}, Head: engine.Head{Status: workflow.RunRunning},
		Tasks:      []*engine.TaskState{{Status: workflow.Running, Expanded: true, Size: 1000, Begun: 250}},
		Instances:  make([][]*engine.Instance, 1),
		Expansions: make([]*engine.Expansion, 1),
	}
	for i := range 250 {
		in := &engine.Instance{Status: workflow.Succeeded, Number: 1, Past: []engine.Attempt{{Number: 1, Verdict: workflow.VerdictSucceeded}}}
		if i%10 == 9 {
			in = &engine.Instance{Status: workflow.Running, Number: 1, Current: &engine.Current{}}
		}
		s.Instances[0] = append(s.Instances[0], in)
	}
	return machine(t, def), s
}

func TestManyInstancesAreCounted(t *testing.T) {
	task := httpapi.Document(manyShards(t)).Tasks[0]
	if diff := cmp.Diff(map[string]int{"succeeded": 225, "running": 25, "pending": 750}, task.InstanceCounts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	got, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(got, &fields); err != nil {
		t.Fatal(err)
	}
	if _, ok := fields["instances"]; ok {
		t.Error("a task with instance_counts must not carry instances")
	}
}

func BenchmarkDocument(b *testing.B) {
	const tasks = 10000
	def := &workflow.Definition{Name: "w"}
	s := &engine.State{Input: engine.Input{Run: runID}, Head: engine.Head{Status: workflow.RunRunning}}
	for n := range tasks {
		def.Tasks = append(def.Tasks, plainTask(fmt.Sprintf("t%d", n)))
		s.Tasks = append(s.Tasks, &engine.TaskState{Status: workflow.Succeeded})
		s.Instances = append(s.Instances, []*engine.Instance{{Status: workflow.Succeeded, Number: 1, Past: []engine.Attempt{{Number: 1}}}})
	}
	s.Expansions = make([]*engine.Expansion, tasks)
	m, err := engine.New(def, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		httpapi.Document(m, s)
	}
}
