// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"strings"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/workflow"
)

// rendering is the only task of a workflow, with a body.
func rendering(t *testing.T, kind workflow.BodyKind, body any) Rendering {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return Rendering{
		Definition: &workflow.Definition{
			Name: "nightly", Namespace: "default", Priority: 50, Hash: "sha256:def",
			Tasks: []workflow.Task{{Name: "work", BodyKind: kind, Policy: workflow.DefaultPolicy()}},
		},
		Run: testRun, Body: b,
	}
}

// group is a group of shell tasks, each with little of everything.
func group(name string, tasks ...*nomadapi.Task) *nomadapi.TaskGroup {
	return &nomadapi.TaskGroup{Name: &name, Tasks: tasks}
}

func script(name, text string, change ...func(*nomadapi.Task)) *nomadapi.Task {
	task := &nomadapi.Task{
		Name: name, Driver: "raw_exec", Config: map[string]any{"command": "/bin/sh", "args": []string{"-c", text}},
		Resources: &nomadapi.Resources{CPU: ptr(10), MemoryMB: ptr(16)},
	}
	for _, c := range change {
		c(task)
	}
	return task
}

func planner(t *testing.T, address string) *Planner {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Address = address
	p, err := NewPlanner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestAgentPlan(t *testing.T) {
	t.Parallel()
	r := makeRig(t)
	p := planner(t, r.exec.cfg.Address)
	huge := func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000_000) }
	nowhere := func(task *nomadapi.Task) {
		task.Constraints = []*nomadapi.Constraint{nomadapi.NewConstraint("${attr.kernel.name}", "=", "plan9")}
	}
	parent := r.parameterized(&nomadapi.ParameterizedJobConfig{Payload: "forbidden", MetaRequired: []string{"day"}}, script("work", "true"))
	one := func(tasks ...*nomadapi.Task) *nomadapi.Job {
		return &nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{group("work", tasks...)}}
	}
	several := &nomadapi.Job{ID: ptr("etl-planned"), Type: ptr("batch"), TaskGroups: []*nomadapi.TaskGroup{
		group("fits", script("a", "true")), group("huge", script("a", "true", huge)), group("nowhere", script("a", "true", nowhere)),
	}}
	several.TaskGroups[1].Count = ptr(3)
	for _, c := range []struct {
		name string
		r    Rendering
		want string
	}{
		{"fits", rendering(t, workflow.BodyTask, one(script("work", "true"))), "work 1 ok"},
		{"two tasks", rendering(t, workflow.BodyGroup, one(script("a", "true"), script("b", "true"))), "work 1 ok"},
		{"huge", rendering(t, workflow.BodyTask, one(script("work", "true", huge))), "work 1 misses 1: none of 1 node can run it: memory exhausted on 1 node"},
		{"several groups", rendering(t, workflow.BodyJob, several), "fits 1 ok; huge 3 misses 3: none of 1 node can run it: memory exhausted on 1 node; " +
			`nowhere 1 misses 1: none of 1 node can run it: constraint "${attr.kernel.name} = plan9" rules out 1 node, impossible`},
		{"invalid", rendering(t, workflow.BodyTask, one(&nomadapi.Task{Name: "work"})), "refused: Nomad refuses the job: "},
		{"dispatch", rendering(t, workflow.BodyDispatch, workflow.DispatchBody{Job: parent, Meta: map[string]string{"day": "1"}}), "work 1 ok"},
		{"dispatch without meta", rendering(t, workflow.BodyDispatch, workflow.DispatchBody{Job: parent}), "refused: job " + parent + " cannot be dispatched so: it requires meta day"},
		{"dispatch with other meta", rendering(t, workflow.BodyDispatch, workflow.DispatchBody{Job: parent, Meta: map[string]string{"day": "1", "x": "2"}}),
			"refused: job " + parent + " cannot be dispatched so: it knows no meta x"},
		{"dispatch with a payload", rendering(t, workflow.BodyDispatch, workflow.DispatchBody{Job: parent, Meta: map[string]string{"day": "1"}, Payload: []byte("x")}),
			"refused: job " + parent + " cannot be dispatched so: it forbids a payload"},
		{"dispatch of nothing", rendering(t, workflow.BodyDispatch, workflow.DispatchBody{Job: "nothing"}), "refused: there is no job nothing in namespace default to dispatch"},
	} {
		got, err := p.Plan(r.ctx(), c.r)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if text := describePlacement(got); !strings.HasPrefix(text, c.want) || got.OK() != strings.HasSuffix(c.want, " ok") {
			t.Errorf("%s: %s (all well: %t), want %s", c.name, text, got.OK(), c.want)
		}
	}
	for _, id := range []string{"cairn-0000-" + string(testRun), "etl-planned"} {
		found, _, err := r.api().Jobs().PrefixList(id)
		if err != nil || len(found) > 0 {
			t.Errorf("a dry run left %d jobs %s (%v)", len(found), id, err)
		}
	}
}

func describePlacement(p Placement) string {
	if p.Refused != "" {
		return "refused: " + p.Refused
	}
	var parts []string
	for _, g := range p.Groups {
		text := g.Name + " " + string(rune('0'+g.Count)) + " ok"
		if g.Unplaced > 0 {
			text = g.Name + " " + string(rune('0'+g.Count)) + " misses " + string(rune('0'+g.Unplaced)) + ": " + g.Why
		}
		if g.Impossible {
			text += ", impossible"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func TestPlanSaysWhatItCannot(t *testing.T) {
	t.Parallel()
	p := planner(t, unusedAddress(t))
	_, err := p.Plan(t.Context(), rendering(t, workflow.BodyTask, &nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{group("work", script("work", "true"))}}))
	if err == nil || !strings.Contains(err.Error(), "does not say where task work would run") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without Nomad: %v", err)
	}
	if _, err := p.Plan(t.Context(), rendering(t, workflow.BodyApproval, struct{}{})); err == nil || !strings.Contains(err.Error(), "needs no worker") {
		t.Errorf("an approval is planned: %v", err)
	}
}
