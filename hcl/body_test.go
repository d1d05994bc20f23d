// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

const producerAndConsumer = `
workflow "w" {
  task "a" {
    driver = "raw_exec"
    config {
      command = "x"
    }
    output "x" {}
  }
  task "b" {
    driver = "raw_exec"
    config {
      command = "run"
      %s
    }
    env {
      %s
    }
  }
}`

func TestBodyRefusesNullOfATaskThatDidNotRun(t *testing.T) {
	for name, c := range map[string]struct{ config, env, want string }{
		"in a list":      {`args = ["-x", task.a.output.x]`, "", "test.hcl:14: the body of task b: null stands where a value is needed. task.a.output.x is null because task a was skipped."},
		"in text":        {`args = ["-x=${task.a.output.x}"]`, "", "Cannot include a null value in a string template. task.a.output.x is null because task a was skipped."},
		"alone":          {`args = task.a.output.x`, "", "null stands where a value is needed. task.a.output.x is null"},
		"in env":         {"", `X = task.a.output.x`, "null"},
		"with a default": {`args = [coalesce(task.a.output.x, "none")]`, "", ""},
		"compared":       {`args = [task.a.output.x == null ? "none" : "some"]`, "", ""},
		"left out":       {`args = task.a.output.x == null ? null : ["x"]`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(strings.Replace(producerAndConsumer, "%s", c.config, 1), "%s", c.env, 1)
			def, e := evaluatorOf(t, src)
			_, err := e.Evaluate(*def.Tasks[1].Body, workflow.Scope{Shared: &workflow.Shared{Tasks: map[string]*workflow.TaskValues{"a": plainTask(workflow.Skipped, nil)}}})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// args of the first task of a rendered job, as JSON.
func args(t testing.TB, v workflow.Value) string {
	t.Helper()
	raw, err := json.Marshal(decodeJob(t, v).TaskGroups[0].Tasks[0].Config["args"])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDataNeverBecomesATemplate(t *testing.T) {
	def, e := evaluatorOf(t, `
workflow "w" {
  param "p" {
    type = string
  }
  locals {
    mixed  = "${param.p} on ${node.unique.name}"
    pieces = "$${x}"
  }
  task "a" {
    for_each = toset([param.p])
    driver   = "raw_exec"
    config {
      command = "x"
      args    = [param.p, upper(param.p), "a${param.p}b", local.mixed, local.pieces, each.key, each.value, jsonencode([param.p]), join("$", ["", "{y}"])]
    }
  }
}`)
	v, err := e.Evaluate(*def.Tasks[0].Body, workflow.Scope{
		Shared: &workflow.Shared{Params: values(t, map[string]any{"p": "${env.SECRET}%{if}"})},
		Each:   &workflow.Each{Key: "${k}", Value: workflow.Value{JSON: []byte(`"${k}"`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal([]byte(args(t, v)), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"$${env.SECRET}%%{if}", "$${ENV.SECRET}%%{IF}", "a$${env.SECRET}%%{if}b", "$${env.SECRET}%%{if} on ${node.unique.name}", "${x}",
		"$${k}", "$${k}", `["$${env.SECRET}%%{if}"]`, "$${y}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("args, -want +got:\n%s", diff)
	}
}

func TestBodyIsTheSameEveryTime(t *testing.T) {
	def, e := evaluatorOf(t, bodyBenchSource)
	other, err := NewEvaluator(def)
	if err != nil {
		t.Fatal(err)
	}
	each := &workflow.Each{Key: "k", Value: workflow.Value{JSON: []byte("1")}}
	first, err := e.Evaluate(*def.Tasks[1].Body, workflow.Scope{Shared: benchShared(t), Each: each, Attempt: &workflow.AttemptValues{Number: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range []*Evaluator{e, other} {
		v, err := ev.Evaluate(*def.Tasks[1].Body, workflow.Scope{Shared: benchShared(t), Each: each, Attempt: &workflow.AttemptValues{Number: 2}})
		if err != nil || string(v.JSON) != string(first.JSON) {
			t.Errorf("another body: %s (%v)", v.JSON, err)
		}
	}
}
