// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// shell is a task that runs a line of shell.
func shell(kind, name, line, more string) string {
	return fmt.Sprintf(`
  %s %q {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", %q]
    }
    %s
  }
`, kind, name, line, more)
}

// nested writes three workflows, each of which starts the next; the innermost waits for LEDGER.go and fails unless LEDGER.well
// is there.
func nested(t *testing.T) *rig {
	r := newRig(t, `
workflow "outer" {
  param "who" { default = "world" }
  output "said" { value = task.middle.output.said }
  task "middle" {
    run_workflow {
      source = "middle.hcl"
      params = { who = "${param.who}!" }
    }
  }`+shell("finally", "tidy", "echo tidy outer >> LEDGER", "")+`
}
`)
	r.write("middle.hcl", `
workflow "middle" {
  param "who" {}
  output "said" { value = task.inner.output.said }
  task "inner" {
    run_workflow {
      source = "inner.hcl"
      params = { who = param.who }
    }
  }`+shell("finally", "tidy", "echo tidy middle >> LEDGER", "")+`
}
`)
	r.write("inner.hcl", `
workflow "inner" {
  param "who" {}
  output "said" { value = task.say.output.said }`+
		shell("task", "say", `echo begin >> LEDGER; until [ -e LEDGER.go ]; do sleep 0.02; done; echo end >> LEDGER; echo "said=${param.who}" > $CAIRN_OUTPUT; [ -e LEDGER.well ]`,
			`output "said" {}`)+
		shell("finally", "tidy", "echo tidy inner >> LEDGER", "")+`
}
`)
	return r
}

func (r *rig) mark(name string) {
	r.t.Helper()
	if err := os.WriteFile(r.ledger+name, nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// show reads a run, and verb uses a verb on one.
func show(t *testing.T, c *client.Client, id string) *api.Run {
	t.Helper()
	run, err := c.Run(within(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func use(t *testing.T, c *client.Client, id string, verb api.Verb) {
	t.Helper()
	if _, err := c.Verb(within(t), id, verb, api.VerbRequest{By: "test"}); err != nil {
		t.Fatal(err)
	}
}

// childOf is the child run of a run's first task.
func childOf(t *testing.T, c *client.Client, id string) string {
	t.Helper()
	var child string
	until(t, func() bool {
		for _, i := range show(t, c, id).Tasks[0].Instances {
			for _, a := range i.Attempts {
				child = a.Child
			}
		}
		return child != ""
	})
	return child
}

func end(t *testing.T, s *Session, want workflow.RunStatus) *api.Run {
	t.Helper()
	run, err := follow(within(t), s.Client(), s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != string(want) {
		t.Errorf("the run is %s (%s), want %s", run.Status, run.Reason, want)
	}
	return run
}

func TestVerbsReachRunsThreeLevelsDeep(t *testing.T) { verbsReach(t, nested(t), Local) }

func TestVerbsReachRunsThreeLevelsDeepOnRealNomad(t *testing.T) {
	t.Parallel()
	r := nested(t)
	r.onNomad()
	verbsReach(t, r, Nomad)
}

func verbsReach(t *testing.T, r *rig, kind Kind) {
	s := r.start(kind)
	outer := string(s.Run)
	until(t, func() bool { return r.lines()["begin"] == 1 })
	middle := childOf(t, s.Client(), outer)
	inner := childOf(t, s.Client(), middle)
	var refused *api.Error
	if _, err := s.Client().Verb(within(t), inner, api.VerbPause, api.VerbRequest{}); !errors.As(err, &refused) ||
		refused.Status != http.StatusConflict || !strings.Contains(refused.Message, middle) {
		t.Errorf("pause of a child: %v, want a refusal that names run %s", err, middle)
	}
	use(t, s.Client(), outer, api.VerbPause)
	until(t, func() bool { return show(t, s.Client(), inner).Status == "pausing" })
	r.mark(".go")
	until(t, func() bool { return show(t, s.Client(), outer).Status == "paused" })
	if got := r.lines(); got["tidy inner"] != 0 {
		t.Errorf("the ledger says %v, want no finally during the pause", got)
	}
	use(t, s.Client(), outer, api.VerbResume)
	end(t, s, workflow.RunFailed)

	// A retry goes down to what failed.
	r.mark(".well")
	use(t, s.Client(), outer, api.VerbRetry)
	run := end(t, s, workflow.RunSucceeded)
	if string(run.Outputs["said"]) != `"world!"` {
		t.Errorf("outputs are %s, want what the innermost said", run.Outputs)
	}
	if again := childOf(t, s.Client(), outer); again != middle || show(t, s.Client(), inner).Generation != 2 {
		t.Errorf("the retry ran %s, want the same run %s in its generation 2", again, middle)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStopReachesRunsThreeLevelsDeep(t *testing.T) { stopReaches(t, nested(t), Local) }

func TestAStopReachesRunsThreeLevelsDeepOnRealNomad(t *testing.T) {
	t.Parallel()
	r := nested(t)
	r.onNomad()
	stopReaches(t, r, Nomad)
}

func stopReaches(t *testing.T, r *rig, kind Kind) {
	s := r.start(kind)
	until(t, func() bool { return r.lines()["begin"] == 1 })
	use(t, s.Client(), string(s.Run), api.VerbStop)
	end(t, s, workflow.RunCancelled)
	if got := fmt.Sprint(r.lines()); got != "map[begin:1 tidy inner:1 tidy middle:1 tidy outer:1]" {
		t.Errorf("the ledger says %s, want every level to have tidied up", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestChildRunsLiveInTheFolderOfTheRunAboveThem(t *testing.T) {
	r := nested(t)
	s := r.start(Local)
	outer := string(s.Run)
	until(t, func() bool { return r.lines()["begin"] == 1 })
	inner := childOf(t, s.Client(), childOf(t, s.Client(), outer))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for children, want := range map[bool]int{false: 1, true: 3} {
		if runs, problems, err := List(within(t), r.cfg, Query{RunsQuery: client.RunsQuery{Children: children}}); err != nil || len(problems) > 0 || len(runs) != want {
			t.Errorf("list, children %t: %d runs, %v, %v, want %d", children, len(runs), problems, err, want)
		}
	}
	read, err := Read(within(t), r.cfg, workflow.RunID(inner))
	if err != nil {
		t.Fatal(err)
	}
	if run := show(t, read.Client, inner); run.Workflow != "inner" || run.Parent == nil || run.Status != "running" {
		t.Errorf("the child reads %+v, want it to run, with a parent", run)
	}
	read.Close()

	// Whoever goes on with the child goes on with the whole family.
	r.mark(".well") // before it goes and looks
	r.mark(".go")
	s, err = Resume(within(t), r.cfg, workflow.RunID(inner), "")
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Run) != outer {
		t.Errorf("resumed is run %s, want %s", s.Run, outer)
	}
	end(t, s, workflow.RunSucceeded)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var over *OverError
	if _, err := Resume(within(t), r.cfg, workflow.RunID(inner), ""); !errors.As(err, &over) || string(over.Run) != inner {
		t.Errorf("resume of a child that is over: %v, want to hear that", err)
	}
	if got := fmt.Sprint(r.lines()); got != "map[begin:1 end:1 tidy inner:1 tidy middle:1 tidy outer:1]" {
		t.Errorf("the ledger says %s, want everything once", got)
	}
}

func TestARunThatNobodyDrivesIsTakenUpByAVerb(t *testing.T) {
	r := nested(t)
	r.mark(".go")
	s := r.start(Local)
	end(t, s, workflow.RunFailed)
	outer := s.Run
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var over *OverError
	if _, err := Resume(within(t), r.cfg, outer, ""); !errors.As(err, &over) {
		t.Errorf("resume: %v, want to hear that the run is over", err)
	}
	r.mark(".well")
	s, err := TakeUp(within(t), r.cfg, outer, "")
	if err != nil {
		t.Fatal(err)
	}
	use(t, s.Client(), string(outer), api.VerbRetry)
	end(t, s, workflow.RunSucceeded)

	// A rerun is a run of its own, in a folder of its own; the socket of another run does not start one.
	req := api.RerunRequest{By: "test", ParamTexts: map[string]string{"who": "moon"}, Key: "k"}
	var refused *api.Error
	if _, err := s.Client().Rerun(within(t), string(outer), req); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("a rerun through the socket: %v, want it refused", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Rerun(within(t), r.cfg, outer, req)
	if err != nil {
		t.Fatal(err)
	}
	run := end(t, s, workflow.RunSucceeded)
	if string(run.Outputs["said"]) != `"moon!"` || s.Run == outer || run.CopiedFrom != string(outer) {
		t.Errorf("run %s says %s, copied from %q, want a new run of %s with its new param", run.ID, run.Outputs, run.CopiedFrom, outer)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var exists *RunExistsError
	if _, err := Rerun(within(t), r.cfg, outer, req); !errors.As(err, &exists) || exists.Run != s.Run {
		t.Errorf("the same again: %v, want to hear of run %s", err, s.Run)
	}
	var taken *scheduler.KeyTakenError
	req.From = []string{"middle"}
	if _, err := Rerun(within(t), r.cfg, outer, req); !errors.As(err, &taken) {
		t.Errorf("another selection with the same key: %v, want it refused", err)
	}
}

func TestALocalRunMayCallAnybody(t *testing.T) {
	var key, heard string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		key, heard = r.Header.Get("Idempotency-Key"), string(b)
		fmt.Fprint(w, `{"rows": 42}`)
	}))
	defer server.Close()
	r := newRig(t, `
workflow "calls" {
  output "rows"   { value = task.call.output.json.rows }
  output "status" { value = task.call.output.status }
  task "call" {
    http {
      method = "POST"
      url    = "`+server.URL+`/x"
      body   = "hello"
    }
  }
}
`)
	s := r.start(Local)
	run := end(t, s, workflow.RunSucceeded)
	if string(run.Outputs["rows"]) != "42" || string(run.Outputs["status"]) != "200" || heard != "hello" {
		t.Errorf("outputs are %s, heard was %q, want the answer", run.Outputs, heard)
	}
	if want := string(workflow.MakeAttemptID(s.Run, 0, 0, 1)); key != want {
		t.Errorf("the idempotency key was %q, want %q", key, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
