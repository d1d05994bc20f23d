// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// compileText compiles one file that must be right.
func compileText(t testing.TB, src string) *workflow.Definition {
	t.Helper()
	def, diags := Compile([]workflow.File{{Path: "test.hcl", Bytes: []byte(src)}}, "")
	if diags.HasErrors() {
		t.Fatalf("compile:\n%s", diags)
	}
	return def
}

// evaluatorOf is the evaluator of a file that must be right.
func evaluatorOf(t testing.TB, src string) (*workflow.Definition, *Evaluator) {
	t.Helper()
	def := compileText(t, src)
	e, err := NewEvaluator(def)
	if err != nil {
		t.Fatal(err)
	}
	return def, e
}

// values turns Go values into values of a scope.
func values(t testing.TB, in map[string]any) map[string]workflow.Value {
	t.Helper()
	out := make(map[string]workflow.Value, len(in))
	for k, v := range in {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = workflow.Value{JSON: raw}
	}
	return out
}

// plainTask is a task of one instance as others see it.
func plainTask(status workflow.Status, outputs map[string]workflow.Value) *workflow.TaskValues {
	return &workflow.TaskValues{Status: status, Instances: []workflow.InstanceValues{{Status: status, Outputs: outputs}}}
}

// job is the part of a rendered body that tests look at.
type job struct {
	Namespace, Region, NodePool string
	Datacenters                 []string
	Priority                    int
	TaskGroups                  []struct {
		Tasks []struct {
			Name, Driver, User string
			Config             map[string]any
			Env                map[string]string
		}
	}
}

func decodeJob(t testing.TB, v workflow.Value) job {
	t.Helper()
	var j job
	if err := json.Unmarshal(v.JSON, &j); err != nil {
		t.Fatalf("body %s: %v", v.JSON, err)
	}
	return j
}

func TestBodySeesParamsLocalsEachAttemptAndOutputs(t *testing.T) {
	def, e := evaluatorOf(t, `
workflow "w" {
  namespace   = "data"
  region      = "eu"
  datacenters = ["dc1"]
  node_pool   = param.pool
  priority    = 70
  param "pool" {
    type = string
  }
  locals {
    to   = "s3://${param.pool}/${task.a.output.x}"
    node = "on ${node.unique.name}"
  }
  defaults {
    driver = "raw_exec"
    user   = "nobody"
    env {
      A = "1"
      B = "shared"
    }
  }
  task "a" {
    config {
      command = "x"
    }
    output "x" {}
  }
  task "b" {
    for_each = { k = { n = 4 } }
    config {
      command = "run"
      args    = [each.key, each.value.n, each.index, attempt.number, local.to, local.node, "${NOMAD_TASK_DIR}/x", run.id]
    }
    env {
      B = "own"
    }
  }
}`)
	v, err := e.Evaluate(*def.Tasks[1].Body, workflow.Scope{
		Shared: &workflow.Shared{
			Run:    workflow.RunValues{ID: "r1"},
			Params: values(t, map[string]any{"pool": "p"}),
			Tasks:  map[string]*workflow.TaskValues{"a": plainTask(workflow.Succeeded, values(t, map[string]any{"x": "${evil}"}))},
		},
		Each:    &workflow.Each{Key: "k", Value: workflow.Value{JSON: []byte(`{"n":4}`)}, Index: 2},
		Attempt: &workflow.AttemptValues{Number: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", v.JSON)
	j := decodeJob(t, v)
	if j.Namespace != "data" || j.Region != "eu" || j.NodePool != "p" || j.Priority != 70 || len(j.Datacenters) != 1 {
		t.Errorf("placement: %+v", j)
	}
	task := j.TaskGroups[0].Tasks[0]
	raw, _ := json.Marshal(task.Config["args"])
	want := `["k",4,2,3,"s3://p/$${evil}","on ${node.unique.name}","${NOMAD_TASK_DIR}/x","r1"]`
	if string(raw) != want {
		t.Errorf("args:\ngot  %s\nwant %s", raw, want)
	}
	if task.Env["A"] != "1" || task.Env["B"] != "own" || task.User != "nobody" {
		t.Errorf("defaults: %+v", task)
	}
}

// The evaluator that Compile leaves behind has been through all checks; it must say the same as one that begins anew.
func TestBothEvaluatorsOfADefinitionAgree(t *testing.T) {
	folders, err := filepath.Glob("../examples/*/*.hcl")
	if err != nil || len(folders) == 0 {
		t.Fatalf("%v, %v", folders, err)
	}
	bodies := 0
	for _, folder := range folders {
		files, diags := Load(folder)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		def, warm, diags := CompileAndOpen(files, "")
		if diags.HasErrors() {
			t.Fatalf("%s: %v", folder, diags)
		}
		cold, err := NewEvaluator(def)
		if err != nil {
			t.Fatal(err)
		}
		run := workflow.RunValues{ID: "22222222222222222222", Workflow: def.Name, Version: def.Hash, Namespace: "default"}
		params, diags := Params(def, nil, run)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", folder, diags)
		}
		for _, task := range def.Tasks {
			for _, expr := range []*workflow.Expr{task.Body, task.ForEach, task.Count, task.When} {
				if expr == nil {
					continue
				}
				scope := workflow.Scope{
					Shared:  &workflow.Shared{Run: run, Params: params, Tasks: map[string]*workflow.TaskValues{}},
					Attempt: &workflow.AttemptValues{Number: 1},
				}
				want, wantErr := cold.Evaluate(*expr, scope)
				for range 2 { // the second time may come from memory
					got, err := warm.Evaluate(*expr, scope)
					if string(got.JSON) != string(want.JSON) || got.Sensitive != want.Sensitive || fmt.Sprint(err) != fmt.Sprint(wantErr) {
						t.Errorf("%s, task %s: got %s, %v, want %s, %v", folder, task.Name, got.JSON, err, want.JSON, wantErr)
					}
				}
				if want.JSON != nil {
					bodies++
				}
			}
		}
	}
	if bodies < 20 {
		t.Errorf("only %d expressions had a value", bodies)
	}
}
