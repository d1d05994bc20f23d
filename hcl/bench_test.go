// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/workflow"
)

// largeFile is a workflow of eight lines a task: a chain in ten branches, each task reading an output of the one before.
func largeFile(tasks int) []workflow.File {
	var b strings.Builder
	b.WriteString("workflow \"large\" {\n  param \"day\" {\n    type = string\n  }\n  defaults {\n    timeout = \"1h\"\n    env {\n      DAY = param.day\n    }\n  }\n")
	for i := range tasks {
		fmt.Fprintf(&b, "  task \"t%05d\" {\n", i)
		if i >= 10 {
			fmt.Fprintf(&b, "    depends_on = [task.t%05d]\n", i-10)
		} else {
			b.WriteString("    trigger_rule = \"all_success\"\n")
		}
		fmt.Fprintf(&b, "    driver = \"raw_exec\"\n    config {\n      command = \"/bin/echo\"\n      args    = [\"${param.day}\", \"%d\"]\n    }\n  }\n", i)
	}
	b.WriteString("}\n")
	return []workflow.File{{Path: "large.hcl", Bytes: []byte(b.String())}}
}

// BenchmarkValidate loads and compiles large files: 5,000 lines within 0.5 s, 80,000 within 4 s is what people wait for.
func BenchmarkValidate(b *testing.B) {
	for _, tasks := range []int{625, 10_000} {
		files := largeFile(tasks)
		b.Run(fmt.Sprintf("%d-lines", strings.Count(string(files[0].Bytes), "\n")), func(b *testing.B) {
			for b.Loop() {
				if _, diags := Compile(files, ""); diags.HasErrors() {
					b.Fatal(diags)
				}
			}
		})
	}
}

const bodyBenchSource = `
workflow "w" {
  param "day" {
    type = string
  }
  locals {
    total = sum([for t in values(task.before) : t.output.rows])
  }
  task "before" {
    for_each = toset(["x"])
    driver   = "raw_exec"
    config {
      command = "x"
    }
    output "rows" {
      type = number
    }
  }
  task "fan" {
    for_each = { k = 1 }
    driver   = "raw_exec"
    config {
      command = "/bin/echo"
      args    = [each.key, each.value, param.day, local.total, "${node.unique.name}"]
    }
    env {
      DAY = param.day
    }
    resources {
      cpu    = 100
      memory = 64
    }
  }
}`

// benchShared is a view with a fan-out of 1,000 instances in it.
func benchShared(t testing.TB) *workflow.Shared {
	before := &workflow.TaskValues{Shape: workflow.ShapeMap, Status: workflow.Succeeded}
	for i := range 1000 {
		before.Instances = append(before.Instances, workflow.InstanceValues{
			Key: fmt.Sprintf("key-%04d", i), Status: workflow.Succeeded, Outputs: map[string]workflow.Value{"rows": {JSON: []byte("42")}},
		})
	}
	return &workflow.Shared{Params: values(t, map[string]any{"day": "2026-01-31"}), Tasks: map[string]*workflow.TaskValues{"before": before}}
}

// BenchmarkBody renders the bodies of a fan-out whose scope holds another fan-out of 1,000 instances: less than 200 µs each,
// because the scope is converted once.
func BenchmarkBody(b *testing.B) {
	def, e := evaluatorOf(b, bodyBenchSource)
	shared := benchShared(b)
	scope := workflow.Scope{Shared: shared, Each: &workflow.Each{Key: "k", Value: workflow.Value{JSON: []byte("1")}}, Attempt: &workflow.AttemptValues{Number: 1}}
	for b.Loop() {
		if _, err := e.Evaluate(*def.Tasks[1].Body, scope); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScope renders a body with a scope never seen before: what a task that reads a fan-out of 1,000 instances pays once.
func BenchmarkScope(b *testing.B) {
	def, e := evaluatorOf(b, bodyBenchSource)
	template := benchShared(b)
	for b.Loop() {
		shared := *template
		scope := workflow.Scope{Shared: &shared, Each: &workflow.Each{Key: "k", Value: workflow.Value{JSON: []byte("1")}}, Attempt: &workflow.AttemptValues{Number: 1}}
		if _, err := e.Evaluate(*def.Tasks[1].Body, scope); err != nil {
			b.Fatal(err)
		}
	}
}
