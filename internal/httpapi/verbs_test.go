// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/workflow"
)

const waiting = `workflow "waiting" {
  param "day" {
    type    = string
    default = "2026-01-31"
  }
  param "retries" {
    type    = number
    default = 3
  }
  param "token" {
    type      = string
    sensitive = true
    default   = "hunter2"
  }
  task "release" {
    approval {
      approvers = ["ada", "bob"]
      timeout   = "12h"
      input "limit" {
        type    = number
        default = 5
      }
      input "ticket" {
        type = string
      }
      input "pin" {
        type      = string
        default   = param.token
        sensitive = true
      }
    }
  }
  task "settle" {
    wait {
      duration = "10m"
    }
  }
  task "nested" {
    run_workflow {
      name = "child"
    }
  }
  task "fan" {
    for_each = toset(["eu", "us"])
    driver   = "raw_exec"
    config {
      command = "/bin/true"
    }
    max_parallel = 1
    output "rows" {
      type    = number
      default = 0
    }
    output "label" {
      type    = string
      default = "none"
    }
  }
  task "later" {
    depends_on = [task.fan]
    driver     = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}

workflow "child" {
  task "one" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
  }
}
`

// begun is a run of the workflow "waiting" that has begun.
func begun(t *testing.T) (*engine.Machine, *engine.State) {
	t.Helper()
	text := strings.Replace(waiting, "default   = param.token\n", "default   = \"0000\"\n", 1)
	def, eval, diags := hcl.CompileAndOpen([]workflow.File{{Path: "w.hcl", Bytes: []byte(text)}}, "waiting")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, err := engine.New(def, eval)
	if err != nil {
		t.Fatal(err)
	}
	s := m.NewState(engine.Input{
		Run: runID, Workflow: def.Name, Definition: def.Hash, Namespace: "default", Trigger: "manual", CreatedAt: at(0), ScheduledAt: at(0),
		Params: map[string]workflow.Value{"day": value(`"2026-01-31"`), "retries": value("3"), "token": secret(`"hunter2"`)},
		Given:  []string{"token"},
	})
	m.Step(s, engine.Event{Kind: engine.Begin, At: at(1)})
	return m, s
}

// admit gives instances of a task their place in flight.
func admit(t *testing.T, m *engine.Machine, s *engine.State, task string, instance int) {
	t.Helper()
	n, ok := m.Graph().Number(task)
	if !ok {
		t.Fatalf("no task %s", task)
	}
	m.Step(s, engine.Event{Kind: engine.Admit, At: at(2), Epoch: 1, Task: n, Instance: instance})
}

// end terminates the run, and its child with it.
func end(t *testing.T, m *engine.Machine, s *engine.State) {
	t.Helper()
	m.Step(s, engine.Event{Kind: engine.Terminate, At: at(3), By: "ada"})
	m.Step(s, engine.Event{
		Kind: engine.Ended, At: at(4), Attempt: workflow.MakeAttemptID(runID, 2, 0, 1), Outcome: &engine.Outcome{Kind: engine.OutcomeKilled},
	})
	if !s.Head.Status.Terminal() {
		t.Fatalf("the run is %s", s.Head.Status)
	}
}

func TestVerbsFitOrSayWhatWould(t *testing.T) {
	statuses := []workflow.RunStatus{"queued", "running", "pausing", "paused", "stopping", "succeeded", "failed", "cancelled", "skipped"}
	// + acts, = done already, . refused; in the order of statuses.
	for verb, want := range map[api.Verb]string{
		api.VerbStop:      "++++=..=.",
		api.VerbTerminate: "+++++..=.",
		api.VerbPause:     ".+==.....",
		api.VerbResume:    ".=++.....",
		api.VerbRetry:     "......+++",
	} {
		got := ""
		for _, status := range statuses {
			m, s := nightly(t)
			s.Head.Status = status
			r := newRuns(m, s)
			res, err := serve(t, r).do("POST", runPath+"/"+string(verb), api.VerbRequest{By: "ada", Reason: "x"})
			if err == nil {
				res.Body.Close()
			}
			var said *api.Error
			switch {
			case err == nil && len(r.verbs) == 1 && r.verbs[0].By == "ada" && r.verbs[0].Reason == "x":
				got += "+"
			case err == nil && len(r.verbs) == 0:
				got += "="
			case errors.As(err, &said) && said.Code == api.CodeConflict && len(r.verbs) == 0:
				got += "."
			default:
				t.Errorf("%s on a run that is %s: %v, %d events", verb, status, err, len(r.verbs))
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
}

func TestVerbsOnTasksBecomeEvents(t *testing.T) {
	m, s := begun(t)
	admit(t, m, s, "fan", 0)
	r := newRuns(m, s)
	srv := serve(t, r)
	number := func(name string) int { n, _ := m.Graph().Number(name); return n }
	for _, c := range []struct {
		name string
		verb api.Verb
		req  api.VerbRequest
		want engine.Event
	}{
		{"cancel a task", api.VerbCancel, api.VerbRequest{Task: "fan"}, engine.Event{Kind: engine.CancelTask, Task: number("fan"), Instance: -1}},
		{"cancel an instance", api.VerbCancel, api.VerbRequest{Task: "fan", Key: ptr("eu")}, engine.Event{Kind: engine.CancelTask, Task: number("fan")}},
		{"skip a task", api.VerbSkip, api.VerbRequest{Task: "later", By: "ada", Reason: "not today"},
			engine.Event{Kind: engine.SkipTask, Task: number("later"), Instance: -1, By: "ada", Reason: "not today"}},
		{"succeed an instance with outputs", api.VerbSucceed,
			api.VerbRequest{Task: "fan", Key: ptr("us"), Values: map[string]json.RawMessage{"rows": json.RawMessage("4")}, Texts: map[string]string{"label": "42"}},
			engine.Event{Kind: engine.SucceedTask, Task: number("fan"), Instance: 1,
				Values: map[string]workflow.Value{"rows": value("4"), "label": value(`"42"`)}}},
		{"approve with inputs as typed", api.VerbApprove,
			api.VerbRequest{Task: "release", By: "ada", Texts: map[string]string{"limit": "2 + 3", "ticket": "T-1", "pin": "1234"}},
			engine.Event{Kind: engine.Approve, Task: number("release"), Instance: -1, By: "ada",
				Values: map[string]workflow.Value{"limit": value("5"), "ticket": value(`"T-1"`), "pin": secret(`"1234"`)}}},
		{"reject", api.VerbReject, api.VerbRequest{Task: "release", By: "bob", Reason: "no"},
			engine.Event{Kind: engine.Reject, Task: number("release"), Instance: -1, By: "bob", Reason: "no"}},
	} {
		r.verbs = nil
		res, err := srv.do("POST", runPath+"/"+string(c.verb), c.req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		res.Body.Close()
		if diff := cmp.Diff([]engine.Event{c.want}, r.verbs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, c := range []struct {
		name string
		verb api.Verb
		req  api.VerbRequest
		code string
		want string
	}{
		{"who may not approve", api.VerbApprove, api.VerbRequest{Task: "release", By: "eve", Texts: map[string]string{"ticket": "x"}},
			api.CodeConflict, "task release waits for ada or bob; eve may not decide it"},
		{"an input that is missing", api.VerbApprove, api.VerbRequest{Task: "release", By: "ada"},
			api.CodeConflict, "input ticket of release is missing, and it has no default"},
		{"an input that nobody asked for", api.VerbApprove, api.VerbRequest{Task: "release", By: "ada", Texts: map[string]string{"ticket": "x", "color": "red"}},
			api.CodeConflict, "color"},
		{"text that is no number", api.VerbApprove, api.VerbRequest{Task: "release", By: "ada", Texts: map[string]string{"limit": "many", "ticket": "x"}},
			api.CodeBadRequest, "input limit of task release must be a number, not many"},
		{"text that is no expression", api.VerbApprove, api.VerbRequest{Task: "release", By: "ada", Texts: map[string]string{"limit": "1 +", "ticket": "x"}},
			api.CodeBadRequest, "input limit of task release must be a number, and the text given is no such value: "},
		{"a task that waits for nothing", api.VerbReject, api.VerbRequest{Task: "settle"}, api.CodeConflict, "task settle is no approval"},
		{"the retry of a task that goes on", api.VerbRetry, api.VerbRequest{Task: "fan"}, api.CodeConflict, "task fan is running; task retry is for what is"},
	} {
		r.verbs = nil
		_, err := srv.do("POST", runPath+"/"+string(c.verb), c.req)
		var said *api.Error
		if !errors.As(err, &said) || said.Code != c.code || !strings.Contains(said.Message, c.want) || len(r.verbs) != 0 {
			t.Errorf("%s: got %v, want %s %q", c.name, err, c.code, c.want)
		}
	}
}

func TestWhatARetryWouldRunIsListed(t *testing.T) {
	m, s := begun(t)
	end(t, m, s)
	plan, _, err := get[api.Plan](serve(t, newRuns(m, s)), runPath+"/retry")
	want := api.Plan{Tasks: []api.PlannedTask{
		{Name: "release", Instances: 1}, {Name: "settle", Instances: 1}, {Name: "nested", Instances: 1}, {Name: "fan", Instances: 2},
		{Name: "later", Instances: 1},
	}}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	plan, _, err = get[api.Plan](serve(t, newRuns(m, s)), runPath+"/retry?task=fan")
	if err != nil || len(plan.Tasks) != 2 || plan.Tasks[1].Name != "later" {
		t.Errorf("retry of one task: %+v, %v", plan, err)
	}
}

func TestARerunTakesTheParamsOfItsSource(t *testing.T) {
	m, s := begun(t)
	r := newRuns(m, s)
	srv := serve(t, r)
	var said *api.Error
	if _, err := srv.do("POST", runPath+"/rerun", api.RerunRequest{}); !errors.As(err, &said) || said.Code != api.CodeConflict {
		t.Errorf("of a run that goes on: %v", err)
	}
	end(t, m, s)
	_, err := srv.do("POST", runPath+"/rerun", api.RerunRequest{ParamTexts: map[string]string{"retries": "many", "token": "x"}})
	if !errors.As(err, &said) || said.Code != api.CodeInvalid || len(said.Diagnostics) != 1 || !strings.Contains(said.Diagnostics[0].Detail, "param retries") {
		t.Errorf("with a param that does not fit: %v, %+v", err, said)
	}
	res, err := srv.do("POST", runPath+"/rerun", api.RerunRequest{
		By: "ada", Reason: "again", From: []string{"fan"}, Key: "k",
		Params: map[string]json.RawMessage{"day": json.RawMessage(`"2026-02-01"`)}, ParamTexts: map[string]string{"retries": "2 + 2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	got := r.reruns[0]
	if got.Source != runID || len(got.ID) != 20 || got.By != "ada" || got.Reason != "again" || got.IdempotencyKey != "k" {
		t.Errorf("rerun %+v", got)
	}
	if diff := cmp.Diff(engine.Selection{From: []string{"fan"}}, got.Selection); diff != "" {
		t.Errorf("selection (-want +got):\n%s", diff)
	}
	want := map[string]workflow.Value{"day": value(`"2026-02-01"`), "retries": value("4"), "token": secret(`"hunter2"`)}
	if diff := cmp.Diff(want, got.Params); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"day", "retries", "token"}, got.Given); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
}

func TestTheDocumentSaysWhatIsWaitedFor(t *testing.T) {
	m, s := begun(t)
	doc := httpapi.Document(m, s)
	by := map[string]api.Task{}
	for _, task := range doc.Tasks {
		by[task.Name] = task
	}
	want := &api.Approval{
		Approvers: []string{"ada", "bob"}, Since: at(1).Time(), Until: at(1).Time().Add(12 * 60 * 60 * 1e9), OnTimeout: "reject",
		Inputs: []api.InputAsk{
			{Name: "limit", Type: "number", Default: json.RawMessage("5")},
			{Name: "ticket", Type: "string"},
			{Name: "pin", Type: "string", Default: json.RawMessage(`"(sensitive)"`), Sensitive: true},
		},
	}
	if diff := cmp.Diff(want, by["release"].Instances[0].Approval); diff != "" {
		t.Errorf("approval (-want +got):\n%s", diff)
	}
	if wait := by["settle"].Instances[0].Wait; wait == nil || !wait.Until.Equal(at(1).Time().Add(10*60*1e9)) {
		t.Errorf("wait %+v", wait)
	}
	nested := by["nested"]
	if nested.Body != "run_workflow" || len(nested.Instances[0].Attempts) != 1 || len(nested.Instances[0].Attempts[0].Child) != 20 {
		t.Errorf("nested %+v", nested)
	}
	fan := by["fan"].Instances
	if fan[0].Reason != "waits for a free place" || fan[1].Reason != "waits for its turn: max_parallel of the task is 1" {
		t.Errorf("instances of fan: %+v", fan)
	}
	m.Step(s, engine.Event{Kind: engine.Pause, At: at(4), By: "ada", Reason: "lunch"})
	doc = httpapi.Document(m, s)
	if diff := cmp.Diff([]api.VerbUsed{{Verb: "pause", By: "ada", Reason: "lunch", At: at(4).Time()}}, doc.Verbs); diff != "" {
		t.Errorf("verbs (-want +got):\n%s", diff)
	}
	if why := doc.Tasks[3].Instances[0].Reason; why != "the run is paused" {
		t.Errorf("a queued instance of a paused run: %q", why)
	}
}

func TestAChildRunNamesItsParentAndItsLogs(t *testing.T) {
	m, s := nightly(t)
	s.Input.Parent = workflow.MakeAttemptID("zzzzzzzzzzzzzzzzzzzz", 3, 0, 1)
	doc := httpapi.Document(m, s)
	want := &api.Parent{Run: "zzzzzzzzzzzzzzzzzzzz", Attempt: "zzzzzzzzzzzzzzzzzzzz-0003-000000-001"}
	if diff := cmp.Diff(want, doc.Parent); diff != "" {
		t.Errorf("parent (-want +got):\n%s", diff)
	}
	m, s = begun(t)
	srv := serve(t, newRuns(m, s))
	for query, part := range map[string]string{
		"task=release":            "task release writes no log: it is of kind approval",
		"task=release&follow":     "task release writes no log: it is of kind approval",
		"task=fan&key=us&part=ba": "has no attempt",
	} {
		if _, err := srv.log(query); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", query, err, part)
		}
	}
	child := string(m.ChildOf(s, 2, 0))
	if _, err := srv.log("task=nested"); err == nil || !strings.Contains(err.Error(), "it is run "+child) {
		t.Errorf("log of a child run: %v", err)
	}
}
