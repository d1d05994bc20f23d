// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
)

// object makes a value like param = { name = v, … }.
func object(pairs ...any) cty.Value {
	m := map[string]cty.Value{}
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case string:
			m[pairs[i].(string)] = cty.StringVal(v)
		case int:
			m[pairs[i].(string)] = cty.NumberIntVal(int64(v))
		case cty.Value:
			m[pairs[i].(string)] = v
		}
	}
	return cty.ObjectVal(m)
}

func TestFreeBodies(t *testing.T) {
	in := decodeTask(t, `
		config {
			text     = "a"
			whole    = 3
			fraction = 2.5
			gone     = null
			list     = ["a", null]
			object   = { a = 1, b = null }
			computed = true ? { a = 1 } : { a = 2 }
			mount    = "loses to the block of its name"
			mount {
				type    = "bind"
				nothing = null
				options {
					ro = true
				}
			}
			mount {
				type = "tmpfs"
			}
			logging "json" "file" {
				path = "/x"
			}
			dynamic "device" {
				for_each = ["a", "b"]
				content {
					host_path = device.value
				}
			}
		}
	`, nil)
	want := map[string]any{
		"text":     "a",
		"whole":    int64(3),
		"fraction": 2.5,
		"list":     []any{"a", nil},
		"object":   []any{map[string]any{"a": int64(1), "b": nil}},
		"computed": map[string]any{"a": int64(1)},
		"mount": []any{
			map[string]any{"type": "bind", "nothing": nil, "options": []any{map[string]any{"ro": true}}},
			map[string]any{"type": "tmpfs"},
		},
		"logging": []any{map[string]any{"json": []any{map[string]any{"file": []any{map[string]any{"path": "/x"}}}}}},
		"device":  []any{map[string]any{"host_path": "a"}, map[string]any{"host_path": "b"}},
	}
	if diff := cmp.Diff(want, in.Task.Config); diff != "" {
		t.Error(diff)
	}
}

func TestMapsAreBlocksOrArguments(t *testing.T) {
	for _, src := range []string{
		"env {\n A = 1\n B = \"two\"\n}",
		"env = { A = 1, B = \"two\" }",
		"dynamic \"env\" {\n for_each = [1]\n content {\n A = env.value\n B = \"two\"\n }\n}",
	} {
		if diff := cmp.Diff(map[string]string{"A": "1", "B": "two"}, decodeTask(t, src, nil).Task.Env); diff != "" {
			t.Errorf("%s\n%s", src, diff)
		}
	}
	in := decodeTask(t, "artifact {\n source = \"x\"\n options = { depth = 1 }\n headers {\n A = \"b\"\n }\n}", nil)
	want := &nomadapi.TaskArtifact{GetterSource: ptr("x"), GetterOptions: map[string]string{"depth": "1"}, GetterHeaders: map[string]string{"A": "b"}}
	if diff := cmp.Diff(want, in.Task.Artifacts[0]); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreTextOrNanoseconds(t *testing.T) {
	in := decodeTask(t, "kill_timeout = \"1m30s\"\nshutdown_delay = 2000000000", nil)
	if *in.Task.KillTimeout != 90*time.Second || in.Task.ShutdownDelay != 2*time.Second {
		t.Errorf("got %v and %v", *in.Task.KillTimeout, in.Task.ShutdownDelay)
	}
}

func TestConstraintShorthand(t *testing.T) {
	for src, want := range map[string]nomadapi.Constraint{
		`attribute = "x"`:                                    {LTarget: "x", Operand: "="},
		"attribute = \"x\"\nversion = \"> 1\"":               {LTarget: "x", RTarget: "> 1", Operand: "version"},
		"attribute = \"x\"\nregexp = \"a\"\nversion = \"b\"": {LTarget: "x", RTarget: "a", Operand: "regexp"},
		"distinct_hosts = true":                              {RTarget: "true", Operand: "distinct_hosts"},
		"distinct_property = \"x\"\nvalue = \"2\"":           {LTarget: "x", RTarget: "2", Operand: "distinct_property"},
		"attribute = \"x\"\noperator = \"is_set\"":           {LTarget: "x", Operand: "is_set"},
	} {
		in := decodeTask(t, "constraint {\n"+src+"\n}", nil)
		if diff := cmp.Diff(&want, in.Task.Constraints[0]); diff != "" {
			t.Errorf("%s\n%s", src, diff)
		}
	}
}

func TestConstraintWordsThatNomadForgetsAreRefused(t *testing.T) {
	for word := range ignoredConstraintWords {
		got := problems(t, "constraint {\n  attribute = \"x\"\n  "+word+" = \"y\"\n}", nil)
		if len(got) != 1 || !strings.Contains(got[0], "3,3-") || !strings.Contains(got[0], "ignores it") {
			t.Errorf("%s: %q", word, got)
		}
	}
	file, diags := CompileJob("job.hcl", []byte("job \"x\" {\n  constraint {\n    is_set = \"a\"\n  }\n}\n"), Functions())
	if file == nil || len(diags) != 1 || diags.HasErrors() {
		t.Errorf("in a job file, where Nomad's meaning holds, got %v", diags)
	}
}

func TestIdentities(t *testing.T) {
	in := decodeTask(t, `
		identity {
			name = "vault"
		}
		identity {
			env = true
		}
	`, nil)
	if in.Task.Identity == nil || !in.Task.Identity.Env || len(in.Task.Identities) != 1 || in.Task.Identities[0].Name != "vault" {
		t.Error(asJSON(t, in.Task))
	}
}

func TestPortsOfTaskNetworks(t *testing.T) {
	in := decodeTask(t, "resources {\n network {\n port \"a\" {\n static = 1\n }\n port \"b\" {}\n }\n}", nil)
	n := in.Task.Resources.Networks[0]
	if len(n.ReservedPorts) != 1 || n.ReservedPorts[0].Label != "a" || len(n.DynamicPorts) != 1 || n.DynamicPorts[0].Label != "b" {
		t.Error(asJSON(t, n))
	}
}

func TestDefaultsBeyondTheTags(t *testing.T) {
	in := decodeTask(t, `
		template {
			data        = "x"
			destination = "local/x"
			change_script {
				command = "true"
			}
		}
		template {
			data        = "x"
			destination = "local/y"
			change_mode = "restart"
		}
		vault {}
	`, nil)
	want := &nomadapi.Template{
		EmbeddedTmpl: ptr("x"), DestPath: ptr("local/x"), ChangeMode: ptr("noop"), Perms: ptr("0644"), Splay: ptr(5 * time.Second),
		ErrMissingKey: ptr(false),
		ChangeScript:  &nomadapi.ChangeScript{Command: ptr("true"), Args: []string{}, Timeout: ptr(5 * time.Second), FailOnError: ptr(false)},
	}
	if diff := cmp.Diff(want, in.Task.Templates[0]); diff != "" {
		t.Error(diff)
	}
	if *in.Task.Templates[1].ChangeMode != "restart" {
		t.Error("a written change_mode was changed")
	}
	if v := in.Task.Vault; !*v.Env || *v.DisableFile || *v.ChangeMode != "restart" {
		t.Error(asJSON(t, v))
	}
}

func TestWrongNames(t *testing.T) {
	for _, test := range []struct{ src, want string }{
		{"drivr = \"x\"", `1,1-6 Unsupported argument: Nomad knows no argument "drivr" here. Did you mean "driver"?`},
		{"confg {}", `1,1-6 Unsupported block: Nomad knows no block "confg" here. Did you mean "config"?`},
		{"resources {\n  memroy = 3\n}", `2,3-9 Unsupported argument: Nomad knows no argument "memroy" here. Did you mean "memory"?`},
		{"xyzzy = 1", `1,1-6 Unsupported argument: Nomad knows no argument "xyzzy" here.`},
		{"template = \"x\"", "1,1-9 Unsupported argument: template is a block: write template { … } without an equals sign."},
		{"driver {}", "1,1-7 Unsupported block: driver is an argument: write driver = … instead of a block."},
		{"config {}\nconfig {}", "2,1-7 Duplicate block: config may be written once; the first one is at test.hcl:1."},
		{"volume {}", `1,1-7 Missing label: Write volume "name" { … }: its name is a label.`},
		{"env {\n  A {}\n}", "2,3-4 Unsupported block: env holds plain values, no blocks. A key of it is written A = value."},
		{"dynamic \"config\" {\n  content {}\n}", "1,9-17 Missing required argument: A dynamic block needs the argument for_each."},
		{"dynamic \"confg\" {\n  for_each = []\n  content {}\n}", `1,9-16 Unsupported block: Nomad knows no block "confg" here. Did you mean "config"?`},
		{"lifecycle {}", `1,11-11 Missing required argument: The argument "hook" is required here.`},
	} {
		if diff := cmp.Diff([]string{test.want}, problems(t, test.src, nil)); diff != "" {
			t.Errorf("%s\n%s", test.src, diff)
		}
	}
}

func TestSuggestionsIncludeTheCallersNames(t *testing.T) {
	b, opts := parseBody(t, "retyr {}\nretry {\n  anything = 1\n}")
	opts.Own = map[string]bool{"retry": true}
	_, diags := CompileTask(b, opts)
	if len(diags) != 1 || !strings.Contains(diags[0].Detail, `Did you mean "retry"?`) {
		t.Error(diags)
	}
}

func TestFieldsThatCairnOwns(t *testing.T) {
	for name, word := range map[string]string{
		"restart": "retry", "reschedule": "retry", "disconnect": "on_worker_loss", "scaling": "count", "periodic": "schedule",
		"parameterized": "param", "update": "Batch work", "migrate": "Batch work",
	} {
		got := problems(t, name+" {}", nil)
		if len(got) != 1 || !strings.Contains(got[0], word) {
			t.Errorf("%s: %q does not say %q", name, got, word)
		}
		if IsTaskField(name) {
			t.Errorf("%s is called a task field", name)
		}
		if advice, refused := Refused(name); !refused || !strings.Contains(advice, word) {
			t.Errorf("%s: %q", name, advice)
		}
	}
	for _, name := range []string{"driver", "config", "template", "spread", "network", "volume", "datacenters", "region", "namespace", "node_pool"} {
		if !IsTaskField(name) {
			t.Errorf("%s is not called a task field", name)
		}
	}
}

func TestCheckingWithUnknownValues(t *testing.T) {
	vars := map[string]cty.Value{
		"param": object("day", cty.UnknownVal(cty.String), "n", cty.UnknownVal(cty.Number), "list", cty.UnknownVal(cty.List(cty.String)), "any", cty.DynamicVal),
	}
	good := `
		driver       = param.day
		kill_timeout = param.day
		config {
			args = [param.n, "x${param.day}", param.list]
		}
		env {
			A = param.n
		}
		resources {
			cpu    = param.n
			memory = param.any
		}
		dynamic "constraint" {
			for_each = param.list
			content {
				attribute = "x"
				value     = constraint.value
			}
		}
	`
	if got := problems(t, good, vars); got != nil {
		t.Errorf("a good body: %q", got)
	}
	for src, want := range map[string]string{
		"resources {\n  cpu = param.list\n}": "Wrong type of value: cpu",
		"env = param.n":                      "Wrong type of value: env",
		"datacenters = param.n":              "Wrong type of value: datacenters",
		"kill_timeout = param.list":          "kill_timeout is a duration",
		"dynamic \"constraint\" {\n  for_each = param.list\n  content {\n    value = [constraint.value]\n  }\n}": "Wrong type of value: value",
		"driver = param.none": "Unsupported attribute",
		"driver = parm.day":   "Unknown variable",
	} {
		got := problems(t, src, vars)
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s\ngot %q, wanted %q", src, got, want)
		}
	}
	b, opts := parseBody(t, "driver = param.day")
	body, _ := CompileTask(b, opts)
	if _, diags := body.DecodeTask(evalContext(vars)); !diags.HasErrors() {
		t.Error("decoding took an unknown value")
	}
}

func TestCanonicalJSON(t *testing.T) {
	a, err := Canonical(map[string]any{"b": 9007199254740993, "a": map[string]any{"z": "<&>", "y": nil}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":{"y":null,"z":"<&>"},"b":9007199254740993}`; string(a) != want {
		t.Errorf("got %s, wanted %s", a, want)
	}
	src := "driver = \"x\"\nenv {\n  A = 1\n  B = 2\n  C = 3\n}\nconfig {\n  x = 1\n  y = { a = 1, b = 2 }\n}"
	first, err := Canonical(decodeTask(t, src, nil).Assemble("t"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := Canonical(decodeTask(t, src, nil).Assemble("t"))
		if err != nil || string(again) != string(first) {
			t.Fatalf("%v\n%s\n%s", err, first, again)
		}
	}
	var job nomadapi.Job
	if err := json.Unmarshal(first, &job); err != nil || job.TaskGroups[0].Tasks[0].Driver == "" {
		t.Errorf("%v %s", err, first)
	}
	if got := Hash([]byte("{}")); got != "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("hash %s", got)
	}
}
