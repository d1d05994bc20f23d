// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
)

const (
	childID = "childchildchildchild"
	largeID = "largelargelargelarge"
)

// waitingRun is a run that waits for everything one can wait for, and the runs that it started.
func waitingRun() (*api.Run, nested) {
	attempt := api.Attempt{Number: 1, StartedAt: second(0)}
	ask := &api.Approval{
		Approvers: []string{"ada", "bob"}, Since: second(0), Until: second(3600), OnTimeout: "reject",
		Inputs: []api.InputAsk{
			{Name: "limit", Type: "number", Default: json.RawMessage("5")},
			{Name: "ticket", Type: "string"},
			{Name: "pin", Type: "string", Default: json.RawMessage(`"(sensitive)"`), Sensitive: true},
		},
	}
	waiting := func(set func(*api.Instance)) []api.Instance {
		in := api.Instance{Status: "waiting", Attempts: []api.Attempt{attempt}}
		set(&in)
		return []api.Instance{in}
	}
	plain := func(name, status, reason string) api.Task {
		in := api.Instance{Status: status, Reason: reason}
		if status == "running" {
			in.Attempts = []api.Attempt{{Number: 1, Node: "worker-1", StartedAt: second(4)}}
		}
		return api.Task{Name: name, Body: "task", Status: status, Reason: reason, Instances: []api.Instance{in}}
	}
	child := &api.Run{
		ID: childID, Workflow: "child", Status: "running", StartedAt: second(2), Parent: &api.Parent{Run: "abcdefghijklmnopqrst"},
		Tasks: []api.Task{
			plain("load", "running", ""),
			{Name: "confirm", Body: "approval", Status: "waiting", Instances: waiting(func(in *api.Instance) { in.Approval = &api.Approval{} })},
			plain("publish", "pending", "waits for load"),
		},
	}
	large := &api.Run{ID: largeID, Workflow: "large", Status: "running"}
	for i := range 20 {
		large.Tasks = append(large.Tasks, plain(fmt.Sprintf("t%d", i), []string{"succeeded", "running"}[i%2], ""))
	}
	of := func(name, id string) api.Task {
		return api.Task{Name: name, Body: "run_workflow", Status: "running", Instances: []api.Instance{{
			Status: "running", Attempts: []api.Attempt{{Number: 1, StartedAt: second(2), Child: id}},
		}}}
	}
	run := &api.Run{
		ID: "abcdefghijklmnopqrst", Workflow: "nightly", Status: "running", StartedAt: second(0), CopiedFrom: "zzzzzzzzzzzzzzzzzzzz",
		Verbs: []api.VerbUsed{
			{Verb: "rerun", By: "ada", Reason: "bad numbers", At: second(0)},
			{Verb: "skip", Task: "copied", By: "bob", At: second(1)},
		},
		Tasks: []api.Task{
			{Name: "copied", Body: "task", Status: "succeeded", CopiedFrom: "zzzzzzzzzzzzzzzzzzzz", Instances: []api.Instance{{Status: "succeeded"}}},
			{Name: "release", Body: "approval", Status: "waiting", Instances: waiting(func(in *api.Instance) { in.Approval = ask })},
			{Name: "settle", Body: "wait", Status: "waiting", Instances: waiting(func(in *api.Instance) { in.Wait = &api.Wait{Until: second(95)} })},
			of("nested", childID),
			of("large", largeID),
			{Name: "each", Body: "approval", Status: "waiting", Instances: []api.Instance{
				{Key: ptr("e u"), Index: 0, Status: "waiting", Approval: &api.Approval{}, Attempts: []api.Attempt{attempt}},
				{Key: ptr("us"), Index: 1, Status: "succeeded", Attempts: []api.Attempt{{Number: 1, Verdict: "succeeded", StartedAt: second(0), EndedAt: second(1)}}},
			}},
		},
	}
	return run, nested{childID: child, largeID: large}
}

func TestWhatWaitsForPeopleAndOtherRunsSaysSo(t *testing.T) {
	run, children := waitingRun()
	var b strings.Builder
	for _, size := range []struct{ width, height int }{{110, 30}, {50, 30}} {
		rows := table(run, children, second(10), screen{}, size.width, size.height)
		for _, row := range rows {
			if n := utf8.RuneCountInString(row); n >= size.width {
				t.Errorf("%d columns: a row has %d: %q", size.width, n, row)
			}
		}
		fmt.Fprintf(&b, "-- table, %d columns --\n%s\n", size.width, strings.Join(rows, "\n"))
	}
	fmt.Fprintf(&b, "-- commands --\n%s\n", strings.Join(openQuestions(run, children), "\n"))
	var out bytes.Buffer
	l := &lines{out: &out}
	for _, now := range []time.Time{second(10), second(11)} {
		l.show(run, children, now)
	}
	fmt.Fprintf(&b, "-- lines --\n%s", out.String())
	text := momentPattern.ReplaceAllString(runText(run, children, "process 7", second(10), screen{}), "MOMENT")
	fmt.Fprintf(&b, "-- runs show --\n%s", text)
	goldenInside(t, "waiting.txt", b.String())
}

func TestTheOnlyApprovalNeedsNoName(t *testing.T) {
	run, _ := waitingRun()
	one := *run
	one.Tasks = run.Tasks[:3]
	none := *run
	none.Tasks = run.Tasks[2:3]
	for _, c := range []struct {
		name    string
		run     *api.Run
		task    string
		key     *string
		want    string // task and key
		problem string
	}{
		{name: "one waits", run: &one, want: "release"},
		{name: "none waits", run: &none, problem: "waits for no approval"},
		{name: "two wait", run: run, problem: "waits for 2 approvals"},
		{name: "two wait, and one is named", run: run, task: "each", want: "each -instance 'e u'"},
		{name: "an instance without its task", run: &one, key: ptr("eu"), problem: "name the task, too"},
		{name: "a task that waits for nothing", run: run, task: "settle", want: "settle"},
		{name: "all is named", run: run, task: "each", key: ptr("us"), want: "each -instance us"},
	} {
		req := api.VerbRequest{Task: c.task, Key: c.key}
		problem := chooseApproval(t.Context(), nil, c.run, api.VerbApprove, &req)
		if got := (question{task: req.Task, key: req.Key}).String(); c.problem == "" && got != c.want {
			t.Errorf("%s: chose %q, want %q", c.name, got, c.want)
		}
		if c.problem == "" && problem != "" || !strings.Contains(problem, c.problem) {
			t.Errorf("%s: said %q, want %q", c.name, problem, c.problem)
		}
	}
}

func TestWhatARetryWouldRun(t *testing.T) {
	got := retryText("abcdefghijklmnopqrst", api.Plan{Tasks: []api.PlannedTask{
		{Name: "load", Instances: 1}, {Name: "shards", Instances: 12}, {Name: "list", Instances: 0},
	}})
	want := `A retry of run abcdefghijklmnopqrst would run:
  load    1 instance
  shards  12 instances
  list    as many instances as it expands to
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

var momentPattern = regexp.MustCompile(`\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z+\-0-9]+`)
