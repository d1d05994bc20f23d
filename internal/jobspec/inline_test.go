// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
)

// parseBody parses src as the inside of a block.
func parseBody(t testing.TB, src string) (*hclsyntax.Body, Options) {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(src), "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return file.Body.(*hclsyntax.Body), Options{Sources: map[string][]byte{"test.hcl": []byte(src)}}
}

// evalContext has the functions of job files and the given variables, as data.
func evalContext(vars map[string]cty.Value) *hcl.EvalContext {
	safe := make(map[string]cty.Value, len(vars))
	for name, v := range vars {
		safe[name] = Data(v)
	}
	return &hcl.EvalContext{Variables: safe, Functions: Guard(Functions())}
}

// decodeTask decodes an inline body that must be right.
func decodeTask(t testing.TB, src string, vars map[string]cty.Value) *Inline {
	t.Helper()
	b, opts := parseBody(t, src)
	body, diags := CompileTask(b, opts)
	if diags.HasErrors() {
		t.Fatalf("compile: %v", diags)
	}
	in, diags := body.DecodeTask(evalContext(vars))
	if diags.HasErrors() {
		t.Fatalf("decode: %v", diags)
	}
	return in
}

// problems are the errors and warnings of a body, from compiling and from checking it.
func problems(t testing.TB, src string, vars map[string]cty.Value) []string {
	t.Helper()
	b, opts := parseBody(t, src)
	body, diags := CompileTask(b, opts)
	if !diags.HasErrors() {
		diags = append(diags, body.Check(evalContext(vars))...)
	}
	var out []string
	for _, d := range diags {
		out = append(out, strings.TrimPrefix(d.Subject.String(), "test.hcl:")+" "+d.Summary+": "+d.Detail)
	}
	return out
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func ptr[T any](v T) *T { return &v }

func TestInlineBodyGivesTaskGroupAndJobFields(t *testing.T) {
	in := decodeTask(t, `
		driver       = "docker"
		user         = "app"
		kill_timeout = "90s"
		datacenters  = ["dc1", "dc2"]
		region       = "eu"
		node_pool    = "batch"
		config {
			image = "registry.local/extract:4"
			args  = ["--region", each.key, "--node", "${node.unique.name}"]
			mount {
				type = "bind"
			}
		}
		env {
			LEVEL = 3
		}
		constraint {
			attribute = "${attr.kernel.name}"
			value     = "linux"
		}
		spread {
			attribute = "${node.datacenter}"
			target "dc1" {
				percent = 70
			}
		}
		network {
			port "http" {
				static = 8080
			}
			port "rpc" {}
		}
		volume "data" {
			type   = "host"
			source = "data"
		}
		ephemeral_disk {
			size = 500
		}
		resources {
			cpu    = 500
			memory = 256
		}
	`, map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal("eu")})})
	want := &Inline{
		Task: &nomadapi.Task{
			Driver: "docker", User: "app", KillTimeout: ptr(90 * time.Second),
			Config: map[string]any{
				"image": "registry.local/extract:4",
				"args":  []any{"--region", "eu", "--node", "${node.unique.name}"},
				"mount": []any{map[string]any{"type": "bind"}},
			},
			Env:         map[string]string{"LEVEL": "3"},
			Constraints: []*nomadapi.Constraint{{LTarget: "${attr.kernel.name}", RTarget: "linux", Operand: "="}},
			Resources:   &nomadapi.Resources{CPU: ptr(500), MemoryMB: ptr(256)},
		},
		Group: &nomadapi.TaskGroup{
			Spreads: []*nomadapi.Spread{{
				Attribute:    "${node.datacenter}",
				SpreadTarget: []*nomadapi.SpreadTarget{{Value: "dc1", Percent: 70}},
			}},
			Networks: []*nomadapi.NetworkResource{{
				ReservedPorts: []nomadapi.Port{{Label: "http", Value: 8080}},
				DynamicPorts:  []nomadapi.Port{{Label: "rpc"}},
			}},
			Volumes:       map[string]*nomadapi.VolumeRequest{"data": {Name: "data", Type: "host", Source: "data"}},
			EphemeralDisk: &nomadapi.EphemeralDisk{SizeMB: ptr(500)},
		},
		Job: &nomadapi.Job{Datacenters: []string{"dc1", "dc2"}, Region: ptr("eu"), NodePool: ptr("batch")},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}
	job := in.Assemble("extract")
	if *job.Type != "batch" || len(job.TaskGroups) != 1 || *job.TaskGroups[0].Name != "extract" || job.TaskGroups[0].Tasks[0].Name != "extract" {
		t.Errorf("assembled %s", asJSON(t, job))
	}
	if in.Task.Name != "" {
		t.Error("assembling changed the decoded body")
	}
}
