// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

// bodiesFolder compiles the folder that has every kind of body.
func bodiesFolder(t testing.TB) (*workflow.Definition, *Evaluator) {
	t.Helper()
	files, diags := Load("testdata/valid/bodies")
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	def, e, diags := CompileAndOpen(files, "")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return def, e
}

func taskNamed(t testing.TB, def *workflow.Definition, name string) *workflow.Task {
	t.Helper()
	for i := range def.Tasks {
		if def.Tasks[i].Name == name {
			return &def.Tasks[i]
		}
	}
	t.Fatalf("no task %s", name)
	return nil
}

// bodiesScope is a run of it in which every task has succeeded.
func bodiesScope(t testing.TB) workflow.Scope {
	t.Helper()
	return workflow.Scope{
		Shared: &workflow.Shared{
			Run:    workflow.RunValues{ID: "r1", ScheduledAt: workflow.At(time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC))},
			Params: map[string]workflow.Value{"day": {JSON: []byte(`"2026-01-31"`)}, "token": {JSON: []byte(`"hunter2"`), Sensitive: true}},
			Tasks: map[string]*workflow.TaskValues{
				"inline":  plainTask(workflow.Succeeded, values(t, map[string]any{"rows": 42})),
				"group":   plainTask(workflow.Succeeded, values(t, map[string]any{"rows": 7})),
				"approve": plainTask(workflow.Succeeded, values(t, map[string]any{"limit": 3, "pin": "", "by": "alice", "comment": "fine"})),
				"child": {Shape: workflow.ShapeMap, Status: workflow.Succeeded, Instances: []workflow.InstanceValues{
					{Key: "a", Status: workflow.Succeeded, Outputs: values(t, map[string]any{"rows": 1})},
					{Key: "b", Status: workflow.Succeeded, Outputs: values(t, map[string]any{"rows": []int{2}})},
				}},
			},
		},
		Each:    &workflow.Each{Key: "a", Value: workflow.Value{JSON: []byte(`"a"`)}},
		Attempt: &workflow.AttemptValues{Number: 2},
	}
}

func TestBodiesThatAreNoNomadJobRenderToTheirTypes(t *testing.T) {
	def, e := bodiesFolder(t)
	for name, want := range map[string]struct {
		body      string
		sensitive bool
	}{
		"dispatch": {`{"job":"etl","meta":{"day":"2026-01-31","rows":"42"},"namespace":"data","payload":"eyJkYXkiOiIyMDI2LTAxLTMxIn0=","priority":70,"region":"eu"}`, false},
		"child":    {`{"params":{"name":{"v":"a"},"rows":{"v":42},"token":{"s":true,"v":"hunter2"}},"source":"child","workflow":"child"}`, true},
		"approve":  {`{"approvers":["alice","group:2026-01-31"],"on_timeout":"approve","timeout":43200000000000}`, false},
		"wait":     {`{"until":1769835600000000000}`, false},
		"call": {`{"body":"{\"rows\":[1,[2]]}","expect_status":[200,202],"headers":{"Accept":"application/json","Authorization":"Bearer hunter2"},` +
			`"idempotent":true,"method":"POST","timeout":20000000000,"url":"https://example.com/load?day=2026-01-31"}`, true},
		"short":   {`{"duration":2000000000}`, false},
		"confirm": {`{"on_timeout":"approve","timeout":3600000000000}`, false},
	} {
		v, err := e.Evaluate(*taskNamed(t, def, name).Body, bodiesScope(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want.body, string(v.JSON)); diff != "" || v.Sensitive != want.sensitive {
			t.Errorf("%s: sensitive %t, -want +got:\n%s", name, v.Sensitive, diff)
		}
	}
	if at := time.Unix(0, 1769835600000000000).UTC(); at != time.Date(2026, 1, 31, 5, 0, 0, 0, time.UTC) {
		t.Errorf("the moment of wait is %s", at)
	}
}

// nomadJob is the part of a rendered job that the tests here look at.
type nomadJob struct {
	ID, Type, Namespace, NodePool string
	Datacenters                   []string
	Priority                      int
	Constraints                   []struct{ LTarget, RTarget string }
	TaskGroups                    []struct {
		Name          string
		RestartPolicy *struct{ Attempts int }
		Networks      []struct{ DynamicPorts []struct{ Label string } }
		Tasks         []struct {
			Name      string
			Config    map[string]any
			Lifecycle *struct{ Hook string }
		}
	}
}

func renderedJob(t testing.TB, def *workflow.Definition, e *Evaluator, name string) nomadJob {
	t.Helper()
	v, err := e.Evaluate(*taskNamed(t, def, name).Body, bodiesScope(t))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var job nomadJob
	if err := json.Unmarshal(v.JSON, &job); err != nil {
		t.Fatal(err)
	}
	return job
}

func TestFilesStandInBodiesAsData(t *testing.T) {
	def, e := bodiesFolder(t)
	job := renderedJob(t, def, e, "inline")
	want := []any{"select 1", "2026-01-31: EU US 822ae07d4783158bc1912bb623e5107cc9002d519e1143a9c200ed6ee18b6d0f"}
	if diff := cmp.Diff(want, job.TaskGroups[0].Tasks[0].Config["args"]); diff != "" {
		t.Errorf("args, -want +got:\n%s", diff)
	}
}

func TestGroupIsOneGroupWithThePlacementBesideIt(t *testing.T) {
	def, e := bodiesFolder(t)
	job := renderedJob(t, def, e, "group")
	if job.Type != "batch" || job.Namespace != "data" || job.NodePool != "gpu" || job.Priority != 70 || len(job.Datacenters) != 1 {
		t.Errorf("job: %+v", job)
	}
	if len(job.Constraints) != 1 || job.Constraints[0].LTarget != "${attr.kernel.name}" {
		t.Errorf("constraints: %+v", job.Constraints)
	}
	if len(job.TaskGroups) != 1 || job.TaskGroups[0].Name != "group" {
		t.Fatalf("groups: %+v", job.TaskGroups)
	}
	g := job.TaskGroups[0]
	if len(g.Tasks) != 2 || g.Tasks[0].Name != "main" || g.Tasks[1].Lifecycle == nil || g.Networks[0].DynamicPorts[0].Label != "http" {
		t.Errorf("group: %+v", g)
	}
	if diff := cmp.Diff([]any{"2026-01-31", 42.0, "${NOMAD_PORT_http}"}, g.Tasks[0].Config["args"]); diff != "" {
		t.Errorf("args, -want +got:\n%s", diff)
	}
}

func TestJobFileIsTheJobItself(t *testing.T) {
	def, e := bodiesFolder(t)
	job := renderedJob(t, def, e, "job")
	if job.ID != "batch" || job.Namespace != "data" || job.Datacenters != nil || job.Priority != 0 {
		t.Errorf("job: %+v", job)
	}
	g := job.TaskGroups[0]
	if g.RestartPolicy == nil || g.RestartPolicy.Attempts != 1 {
		t.Errorf("its own restart is gone: %+v", g.RestartPolicy)
	}
	if diff := cmp.Diff([]any{"2026-01-31", 42.0, "a note", "${NOMAD_TASK_DIR}"}, g.Tasks[0].Config["args"]); diff != "" {
		t.Errorf("args, -want +got:\n%s", diff)
	}
}

// What a body cannot be made of fails the task, naming the place and whose output is missing.
func TestBodiesSayWhatIsMissing(t *testing.T) {
	def, e := bodiesFolder(t)
	scope := bodiesScope(t)
	scope.Shared.Tasks["inline"] = plainTask(workflow.Skipped, nil)
	scope.Shared.Tasks["approve"] = plainTask(workflow.Skipped, nil)
	for name, want := range map[string]string{
		"group":    "workflow.hcl:59: the body of task group: null stands where a value is needed. task.inline.output.rows is null because task inline was skipped.",
		"job":      "workflow.hcl:85: `job.vars` of task job: rows is null where a value is needed. task.inline.output.rows is null because task inline was skipped.",
		"dispatch": "workflow.hcl:96: `dispatch.meta` of task dispatch is null where a value is needed. task.inline.output.rows is null because task inline was skipped.",
		"child":    "workflow.hcl:106: `run_workflow.params` of task child: rows is null where a value is needed. task.inline.output.rows is null because task inline was skipped.",
		"wait":     "task.approve.output.limit is null because task approve was skipped.",
	} {
		_, err := e.Evaluate(*taskNamed(t, def, name).Body, scope)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
}

// bodyError evaluates a body that must not render.
func bodyError(t testing.TB, body string, params map[string]any) error {
	t.Helper()
	def, e := evaluatorOf(t, `
workflow "w" {
  param "x" {
    type = any
  }
  param "secret" {
    type      = any
    sensitive = true
  }
  task "a" {
    `+body+`
  }
}`)
	_, err := e.Evaluate(*def.Tasks[0].Body, workflow.Scope{Shared: &workflow.Shared{Params: values(t, params)}, Attempt: &workflow.AttemptValues{Number: 1}})
	if err == nil {
		t.Errorf("%s: no error", body)
		return nil
	}
	return err
}

func TestValuesOfBodiesAreCheckedWhenTheyAreKnown(t *testing.T) {
	for _, c := range []struct {
		body string
		x    any
		want string
	}{
		{"wait {\n duration = param.x\n }", "-5s", "test.hcl:12: `wait.duration` of task a must not be negative."},
		{"wait {\n duration = param.x\n }", 5, "must be a duration with its unit"},
		{"wait {\n until = param.x\n }", "tomorrow", "must be a moment with its zone"},
		{"http {\n url = param.x\n }", "file:///etc/passwd", "`http.url` of task a must begin with http:// or https://."},
		{"http {\n url = param.x\n }", nil, "`http.url` of task a is null where a value is needed."},
		{"http {\n url = \"https://a\"\n method = param.x\n }", "FETCH", "must be one of GET, HEAD"},
		{"http {\n url = \"https://a\"\n timeout = param.x\n }", "61s", "at most 1m0s"},
		{"http {\n url = \"https://a\"\n expect_status = param.x\n }", []int{99}, "a status code from 100 to 599"},
		{"http {\n url = \"https://a\"\n headers = param.x\n }", map[string]string{"A": "b\r\nC: d"}, "a line break or another control character in the header A"},
		{"http {\n url = \"https://a\"\n body = param.x\n }", strings.Repeat("x", 65537), "has 65537 bytes, at most 65536 are allowed"},
		{"dispatch {\n job = \"j\"\n payload = param.x\n }", strings.Repeat("x", 16385), "has 16385 bytes, at most 16384 are allowed"},
		{"dispatch {\n job = param.x\n }", "", "must be the ID of a job"},
		{"dispatch {\n job = \"j\"\n meta = param.x\n }", []string{"a"}, "must be text by name"},
		{"approval {\n on_timeout = param.x\n timeout = \"1h\"\n }", "shrug", `must be "reject" or "approve".`},
		{"approval {\n approvers = param.x\n }", []any{nil}, "is null where a value is needed"},
	} {
		if err := bodyError(t, c.body, map[string]any{"x": c.x, "secret": nil}); err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %v:\ngot  %v\nwant %s", c.body, c.x, err, c.want)
		}
	}
}

func TestErrorsOfBodiesHideWhatIsSensitive(t *testing.T) {
	for _, body := range []string{
		"wait {\n duration = param.secret\n }",
		"http {\n url = param.secret\n }",
		"http {\n url = \"https://a\"\n method = param.secret\n }",
		"http {\n url = \"https://a\"\n headers = { X = \"${param.secret}\\n\" }\n }",
		"http {\n url = \"https://a\"\n body = jsondecode(param.secret)\n }",
		"dispatch {\n job = \"${param.secret} x\"\n }",
		"dispatch {\n job = \"x\"\n payload = jsondecode(sensitive(param.x))\n }",
		"approval {\n approvers = param.secret\n }",
	} {
		if err := bodyError(t, body, map[string]any{"x": "hunter-1", "secret": "hunter-2"}); err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error shows the secret: %v", body, err)
		}
	}
}

// A null that the author computed leaves the attribute out; one that a missing output left behind fails the task.
func TestNullOfAMissingOutputInABody(t *testing.T) {
	for value, want := range map[string]string{
		`task.a.output.x == null ? null : "x"`: "",
		`task.a.output.x`:                      "`http.body` of task b is null where a value is needed. task.a.output.x is null because task a was skipped.",
		`"${task.a.output.x}"`:                 "`http.body` of task b is null where a value is needed. task.a.output.x is null because task a was skipped.",
		`"x ${task.a.output.x}"`:               "task.a.output.x is null because task a was skipped.",
	} {
		src := strings.Replace(producerAndConsumer, "task \"b\" {\n    driver = \"raw_exec\"", "task \"b\" {\n http {\n url = \"https://a\"\n body = "+value+"\n }\n }\n task \"c\" {\n driver = \"raw_exec\"", 1)
		def, e := evaluatorOf(t, strings.ReplaceAll(src, "%s", ""))
		v, err := e.Evaluate(*taskNamed(t, def, "b").Body, workflow.Scope{Shared: &workflow.Shared{Tasks: map[string]*workflow.TaskValues{"a": plainTask(workflow.Skipped, nil)}}})
		switch {
		case want == "" && (err != nil || strings.Contains(string(v.JSON), "body")):
			t.Errorf("%s: got %s, %v", value, v.JSON, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %s, %v, want %s", value, v.JSON, err, want)
		}
	}
}

// Null in an attribute that need not be written is as if it were not.
func TestOptionalPartsOfBodiesMayBeNull(t *testing.T) {
	def, e := evaluatorOf(t, `
workflow "w" {
  param "x" {
    type     = any
    nullable = true
  }
  task "a" {
    http {
      url           = "https://example.com"
      method        = param.x
      headers       = param.x
      body          = param.x
      expect_status = param.x
      timeout       = param.x
      idempotent    = param.x
    }
  }
  task "b" {
    approval {
      approvers  = param.x
      timeout    = param.x
      on_timeout = param.x
    }
  }
}`)
	scope := workflow.Scope{Shared: &workflow.Shared{Params: values(t, map[string]any{"x": nil})}, Attempt: &workflow.AttemptValues{Number: 1}}
	for i, want := range []string{`{"method":"GET","timeout":30000000000,"url":"https://example.com"}`, `{"on_timeout":"reject"}`} {
		v, err := e.Evaluate(*def.Tasks[i].Body, scope)
		if err != nil || string(v.JSON) != want {
			t.Errorf("got %s, %v, want %s", v.JSON, err, want)
		}
	}
}

// What the defaults say reaches each kind of body as far as it has a meaning there.
func TestDefaultsReachTheBodiesTheyMeanSomethingFor(t *testing.T) {
	def := compileText(t, `
workflow "w" {
  defaults {
    timeout       = "1h"
    start_timeout = "2h"
    deadline      = "3h"
    allow_failure = true
    retry {
      max_attempts = 5
      max_lost     = 9
    }
    on_worker_loss {
      mode = "immediate"
    }
  }
  task "group" {
    group {
      task "x" {
        driver = "raw_exec"
        config {
          command = "x"
        }
      }
    }
  }
  task "dispatch" {
    dispatch {
      job = "x"
    }
  }
  task "http" {
    http {
      url = "https://example.com"
    }
  }
  task "call" {
    run_workflow {
      name = "w"
    }
  }
  task "approval" {
    approval {}
  }
  task "wait" {
    wait {
      duration = "1s"
    }
  }
  task "join" {
    depends_on = [task.wait]
  }
}`)
	type reach struct {
		timeout, start, deadline time.Duration
		attempts, lost           int
		loss                     workflow.WorkerLossMode
	}
	all := reach{time.Hour, 2 * time.Hour, 3 * time.Hour, 5, 9, workflow.Immediate}
	none := reach{0, 0, 0, 1, 3, workflow.WaitForStop}
	for name, want := range map[string]reach{
		"group": all, "dispatch": all, "http": {time.Hour, 0, 3 * time.Hour, 5, 3, workflow.WaitForStop},
		"call": none, "approval": none, "wait": none, "join": none,
	} {
		p := taskNamed(t, def, name).Policy
		if got := (reach{p.Timeout, p.StartTimeout, p.Deadline, p.Retry.MaxAttempts, p.Retry.MaxLost, p.OnWorkerLoss.Mode}); got != want || !p.AllowFailure {
			t.Errorf("%s: got %+v, allow_failure %t, want %+v, true", name, got, p.AllowFailure, want)
		}
	}
}

func TestOutputsThatBodiesGiveAreDeclared(t *testing.T) {
	def, e := bodiesFolder(t)
	for name, want := range map[string]string{
		"child": "rows any", "approve": "limit number, pin string sensitive, by string, comment string", "call": "status number, body string, json any",
		"wait": "", "dispatch": "", "job": "",
	} {
		var got []string
		seen := map[workflow.Range]bool{}
		for _, o := range taskNamed(t, def, name).Outputs {
			text := o.Name + " " + o.Type.Text
			if o.Sensitive {
				text += " sensitive"
			}
			if got = append(got, text); o.From != workflow.FromBody {
				t.Errorf("%s.%s comes from %s", name, o.Name, o.From)
			}
			if seen[o.Type.Range] {
				t.Errorf("%s.%s: two outputs have one place, so the evaluator cannot tell them apart", name, o.Name)
			}
			seen[o.Type.Range] = true
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %s, want %s", name, strings.Join(got, ", "), want)
		}
	}
	limit := taskNamed(t, def, "approve").Outputs[0]
	if v, err := e.Evaluate(limit.Type, workflow.Scope{Input: &workflow.Value{JSON: []byte(`"7"`)}}); err != nil || string(v.JSON) != "7" {
		t.Errorf("an input as text: %s, %v", v.JSON, err)
	}
	_, err := e.Evaluate(limit.Type, workflow.Scope{Input: &workflow.Value{JSON: []byte(`"many"`)}})
	if err == nil || !strings.Contains(err.Error(), "output limit of task approve must be a number") {
		t.Errorf("an input that is no number: %v", err)
	}
}

func TestExpansionsNameWhatTheyRead(t *testing.T) {
	def := compileText(t, `
workflow "w" {
  task "list" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "n" {
      type = number
    }
  }
  task "other" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "n" {
      type = number
    }
  }
  locals {
    n = task.list.output.n
  }
  task "fan" {
    count  = local.n
    driver = "raw_exec"
    config {
      command = "x"
      args    = [task.other.output.n]
    }
  }
}`)
	fan := taskNamed(t, def, "fan")
	if diff := cmp.Diff([]string{"list"}, fan.ExpandRefs); diff != "" {
		t.Errorf("expand refs, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"list", "other"}, fan.Refs); diff != "" {
		t.Errorf("refs, -want +got:\n%s", diff)
	}
}
