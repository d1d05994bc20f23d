// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// trip is one way from a workflow file through cairn and a real Nomad, and back.
type trip struct {
	*ground
	nomad *nomadapi.Client
	space string // the namespace in which the tasks run
	run   *ledger.Run
}

func newTrip(t *testing.T) *trip {
	t.Helper()
	n := cluster.Nomad(t)
	x := &trip{ground: newGround(t, "NOMAD_ADDR="+n.Address()), nomad: n.Client()}
	x.space = "trip-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	if _, err := x.nomad.Namespaces().Register(&nomadapi.Namespace{Name: x.space}, nil); err != nil {
		t.Fatal(err)
	}
	return x
}

// goes runs a workflow to its success.
func (x *trip) goes(text string) {
	x.t.Helper()
	file := x.write("workflow.hcl", fmt.Sprintf("workflow \"trip\" {\n  namespace = %q\n%s}\n", x.space, text))
	x.run = x.call(0, "run", "-nomad", "-json", file).document()
	if x.run.Status != "succeeded" {
		x.t.Fatalf("the run is %s (%s)", x.run.Status, x.run.Reason)
	}
}

// job reads the job of a task's only attempt from Nomad, and its only allocation; both must be over and as the document says.
func (x *trip) job(task string) (*nomadapi.Job, *nomadapi.Allocation) {
	x.t.Helper()
	tried := attempt(x.t, x.run, task)
	q := &nomadapi.QueryOptions{Namespace: x.space}
	job, _, err := x.nomad.Jobs().Info(tried.JobID, q)
	if err != nil {
		x.t.Fatalf("the job of task %s: %v", task, err)
	}
	list, _, err := x.nomad.Jobs().Allocations(tried.JobID, true, q)
	if err != nil {
		x.t.Fatal(err)
	}
	if len(list) != 1 || tried.AllocID != "" && list[0].ID != tried.AllocID {
		x.t.Fatalf("Nomad has %d allocations for task %s, want the one of the document, %s", len(list), task, tried.AllocID)
	}
	alloc, _, err := x.nomad.Allocations().Info(list[0].ID, q)
	if err != nil {
		x.t.Fatal(err)
	}
	if tried.Number != 1 || tried.Verdict != "succeeded" || *job.Status != "dead" || *job.Type != "batch" || alloc.ClientStatus != "complete" {
		x.t.Errorf("task %s: attempt %d %s, %s job %s, allocation %s; want one that succeeded, dead and complete",
			task, tried.Number, tried.Verdict, *job.Type, *job.Status, alloc.ClientStatus)
	}
	return job, alloc
}

// output is what an output of the run was.
func (x *trip) output(name string) string {
	x.t.Helper()
	return string(x.run.Outputs[name])
}

// shell is a Nomad task that runs a line of shell.
func shell(name, line, more string) string {
	return fmt.Sprintf("task %q {\n driver = \"raw_exec\"\n %s\n config {\n command = \"/bin/sh\"\n args = [\"-c\", %q]\n }\n}\n", name, more, line)
}

func hook(name string, sidecar bool) string {
	return fmt.Sprintf("lifecycle {\n hook = %q\n sidecar = %t\n}", name, sidecar)
}

func TestAGroupWithHooksGoesRoundNomad(t *testing.T) {
	t.Parallel()
	x := newTrip(t)
	after := filepath.Join(x.dir, "after")
	x.goes("task \"load\" {\n group {\n" +
		shell("prepare", `echo 42 > "$NOMAD_ALLOC_DIR/data/rows"`, hook("prestart", false)) +
		shell("proxy", `echo on; while :; do sleep 0.1; done`, hook("prestart", true)) +
		shell("main", `echo "rows=$(cat "$NOMAD_ALLOC_DIR/data/rows")" >> "$CAIRN_OUTPUT"; echo done`, "") +
		shell("clean", "echo $CAIRN_TASK $CAIRN_ATTEMPT >> "+after, hook("poststop", false)) +
		"}\n output \"rows\" {\n type = number\n }\n}\noutput \"rows\" {\n value = task.load.output.rows\n}\n")
	_, alloc := x.job("load")
	if got := x.output("rows"); got != "42" {
		t.Errorf("rows is %s, want what the prestart task wrote", got)
	}
	if got := x.text(after); got != "load 1\n" {
		t.Errorf("the poststop task wrote %q, want the task and its attempt once", got)
	}
	s := alloc.TaskStates
	for name, state := range s {
		if state.State != "dead" || state.Failed || state.Restarts != 0 {
			t.Errorf("task %s of the group: %s, failed %t, %d restarts", name, state.State, state.Failed, state.Restarts)
		}
	}
	switch {
	case len(s) != 4:
		t.Errorf("Nomad ran %d tasks, want 4", len(s))
	case s["prepare"].FinishedAt.After(s["main"].StartedAt):
		t.Error("the main task started before the prestart task was done")
	case s["proxy"].StartedAt.After(s["main"].StartedAt) || s["proxy"].FinishedAt.Before(s["main"].FinishedAt):
		t.Error("the sidecar did not run all the time that the main task did")
	case s["clean"].StartedAt.Before(s["main"].FinishedAt) || x.run.EndedAt.Before(s["clean"].FinishedAt):
		t.Error("the poststop task did not run between the end of the main task and that of the run")
	}
	for part, want := range map[string]string{"proxy": "on\n", "main": "done\n"} {
		if got := x.call(0, "runs", "logs", "-part", part, x.run.ID, "load").stdout(); got != want {
			t.Errorf("the log of %s is %q, want %q", part, got, want)
		}
	}
}

func TestATaskWithWhatNomadOffersGoesRound(t *testing.T) {
	t.Parallel()
	x := newTrip(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "fetched %s\n", r.URL.Path)
	}))
	defer server.Close()
	secrets := &nomadapi.Variable{Path: "nomad/jobs", Namespace: x.space, Items: nomadapi.VariableItems{"key": "hidden"}}
	if _, _, err := x.nomad.Variables().Create(secrets, &nomadapi.WriteOptions{Namespace: x.space}); err != nil {
		t.Fatal(err)
	}
	x.goes(`
  param "day" {
    default = "2026-01-31"
  }
  task "load" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "cat local/conf - >> \"$CAIRN_OUTPUT\" <<END\nartifact=$(cat local/artifact)\nport=$NOMAD_PORT_http\nEND\n"]
    }
    template {
      destination = "local/conf"
      data        = "secret={{ with nomadVar \"nomad/jobs\" }}{{ .key }}{{ end }}\nday=${param.day}\n"
    }
    artifact {
      source      = "` + server.URL + `/data"
      mode        = "file"
      destination = "local/artifact"
    }
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      port "http" {}
    }
    output "secret" {}
    output "day" {}
    output "artifact" {}
    output "port" {
      type = number
    }
  }
  output "all" {
    value = "${task.load.output.secret} ${task.load.output.day} ${task.load.output.artifact}"
  }
  output "port" {
    value = task.load.output.port
  }
`)
	job, alloc := x.job("load")
	if got := x.output("all"); got != `"hidden 2026-01-31 fetched /data"` {
		t.Errorf("got %s, want the variable, the param and the artifact", got)
	}
	ports := alloc.AllocatedResources.Shared.Ports
	if len(ports) != 1 || ports[0].Label != "http" || x.output("port") != strconv.Itoa(ports[0].Value) {
		t.Errorf("the task says port %s, Nomad gave %+v", x.output("port"), ports)
	}
	if c := job.TaskGroups[0].Tasks[0].Constraints; len(c) != 1 || c[0].LTarget != "${attr.kernel.name}" || c[0].RTarget != "linux" {
		t.Errorf("the job has the constraints %+v", c)
	}
}

func TestADispatchGoesRoundNomad(t *testing.T) {
	t.Parallel()
	x := newTrip(t)
	parent := &nomadapi.Job{
		ID: new("crunch"), Name: new("crunch"), Type: new("batch"), Namespace: &x.space,
		ParameterizedJob: &nomadapi.ParameterizedJobConfig{Payload: "required", MetaRequired: []string{"day"}},
		TaskGroups: []*nomadapi.TaskGroup{{Name: new("work"), Tasks: []*nomadapi.Task{{
			Name: "load", Driver: "raw_exec", DispatchPayload: &nomadapi.DispatchPayloadConfig{File: "input"},
			Config: map[string]any{"command": "/bin/sh", "args": []string{"-c", `echo "$NOMAD_META_day $(cat local/input)"`}},
		}}}},
	}
	if _, _, err := x.nomad.Jobs().Register(parent, &nomadapi.WriteOptions{Namespace: x.space}); err != nil {
		t.Fatal(err)
	}
	x.goes(`
  task "regions" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo 'list=[\"eu\",\"us\"]' >> \"$CAIRN_OUTPUT\""]
    }
    output "list" {
      type = list(string)
    }
  }
  task "crunch" {
    dispatch {
      job     = "crunch"
      meta    = { day = "monday" }
      payload = jsonencode(task.regions.output.list)
    }
  }
`)
	job, _ := x.job("crunch")
	if !strings.HasPrefix(*job.ID, "crunch/dispatch-") || *job.ParentID != "crunch" || !job.Dispatched || job.Meta["day"] != "monday" {
		t.Errorf("Nomad has job %s of %s with meta %v, want a dispatch of crunch", *job.ID, *job.ParentID, job.Meta)
	}
	children, _, err := x.nomad.Jobs().ListOptions(nil, &nomadapi.QueryOptions{Namespace: x.space, Prefix: "crunch/dispatch-"})
	if err != nil || len(children) != 1 {
		t.Errorf("Nomad has %d dispatches (%v), want 1", len(children), err)
	}
	if got := x.call(0, "runs", "logs", x.run.ID, "crunch").stdout(); got != "monday [\"eu\",\"us\"]\n" {
		t.Errorf("the log is %q, want meta and payload", got)
	}
}

func TestAnExistingJobFileGoesRoundNomad(t *testing.T) {
	t.Parallel()
	x := newTrip(t)
	if err := os.Mkdir(filepath.Join(x.dir, "jobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	// It needs its own restart, which a workflow's task would not have.
	x.write("jobs/nightly.nomad.hcl", `
variable "day" {
  type = string
}
job "nightly" {
  type = "batch"
  meta {
    owner = "data"
  }
  group "etl" {
    restart {
      attempts = 2
      interval = "10m"
      delay    = "100ms"
      mode     = "fail"
    }
    task "load" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo ${var.day}; test -e ${NOMAD_ALLOC_DIR}/data/again || { touch ${NOMAD_ALLOC_DIR}/data/again; exit 9; }"]
      }
    }
  }
}
`)
	x.goes(`
  param "day" {
    default = "2026-01-31"
  }
  task "nightly" {
    job {
      source = "jobs/nightly.nomad.hcl"
      vars   = { day = param.day }
    }
  }
`)
	job, alloc := x.job("nightly")
	if got := alloc.TaskStates["load"].Restarts; got != 1 || *job.TaskGroups[0].RestartPolicy.Attempts != 2 {
		t.Errorf("Nomad restarted the task %d times under the policy %+v, want once under the file's own", got, job.TaskGroups[0].RestartPolicy)
	}
	if job.Meta["owner"] != "data" {
		t.Errorf("the job has the meta %v, want the file's own too", job.Meta)
	}
	if got := x.call(0, "runs", "logs", x.run.ID, "nightly").stdout(); got != strings.Repeat("2026-01-31\n", 2) {
		t.Errorf("the log is %q, want the variable twice", got)
	}
}
