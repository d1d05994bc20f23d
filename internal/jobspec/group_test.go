// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
)

// decodeGroup decodes the body of a task with a group block that must be right.
func decodeGroup(t testing.TB, src string, vars map[string]cty.Value) *Grouped {
	t.Helper()
	b, opts := parseBody(t, src)
	body, diags := CompileGroup(b, opts)
	if diags.HasErrors() {
		t.Fatalf("compile: %v", diags)
	}
	ctx := evalContext(vars)
	if diags := body.Check(ctx); diags.HasErrors() {
		t.Fatalf("check: %v", diags)
	}
	g, diags := body.DecodeGroup(ctx)
	if diags.HasErrors() {
		t.Fatalf("decode: %v", diags)
	}
	return g
}

// groupProblemsOf are the errors of a body with a group block, from compiling and from checking it.
func groupProblemsOf(t testing.TB, src string, opts Options, vars map[string]cty.Value) []string {
	t.Helper()
	b, parsed := parseBody(t, src)
	opts.Sources = parsed.Sources
	body, diags := CompileGroup(b, opts)
	if !diags.HasErrors() {
		diags = append(diags, body.Check(evalContext(vars))...)
	}
	var out []string
	for _, d := range diags {
		out = append(out, strings.TrimPrefix(d.Subject.String(), "test.hcl:")+" "+d.Summary+": "+d.Detail)
	}
	return out
}

const wholeGroup = `
	datacenters = [param.dc]
	node_pool   = "batch"
	constraint {
		attribute = "${attr.kernel.name}"
		value     = "linux"
	}
	retry {
		max_attempts = 3
	}
	group {
		shutdown_delay = "5s"
		vault {
			role = "r"
		}
		network {
			port "http" {
				static = 80
			}
		}
		volume "data" {
			type   = "host"
			source = "data"
		}
		service {
			name = "web"
			port = "http"
		}
		constraint {
			attribute = "${node.class}"
			value     = "big"
		}
		task "prepare" {
			driver = "exec"
			lifecycle {
				hook = "prestart"
			}
		}
		task "main" {
			driver = "exec"
			leader = true
			config {
				args = ["${LEVEL}", param.dc]
			}
			env {
				LEVEL = param.level
			}
		}
		dynamic "task" {
			for_each = ["a", "b"]
			labels   = ["helper-${task.value}"]
			content {
				driver = "exec"
				lifecycle {
					hook    = "prestart"
					sidecar = true
				}
			}
		}
	}
`

func TestAGroupBodyGivesAGroupAndItsPlacement(t *testing.T) {
	b, opts := parseBody(t, wholeGroup)
	opts.Own = map[string]bool{"retry": true, groupName: true}
	body, diags := CompileGroup(b, opts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var names []string
	for _, v := range body.Variables() {
		names = append(names, traversalText(v))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"param.dc", "param.dc", "param.level"}, names); diff != "" {
		t.Errorf("variables: %s", diff)
	}
	if len(body.Expressions()) < 15 {
		t.Errorf("%d expressions", len(body.Expressions()))
	}
	unknown := evalContext(map[string]cty.Value{"param": object("dc", cty.UnknownVal(cty.String), "level", cty.DynamicVal)})
	if diags := body.Check(unknown); diags.HasErrors() {
		t.Error(diags)
	}
	if _, diags := body.DecodeGroup(unknown); !diags.HasErrors() {
		t.Error("decoding took an unknown value")
	}
	job, diags := body.Job(evalContext(map[string]cty.Value{"param": object("dc", "dc1", "level", 7)}), "load")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	g := job.TaskGroups[0]
	if *job.Type != "batch" || *job.NodePool != "batch" || !slices.Equal(job.Datacenters, []string{"dc1"}) || len(job.Constraints) != 1 || *g.Name != "load" {
		t.Error(asJSON(t, job))
	}
	if len(g.Constraints) != 1 || *g.ShutdownDelay != 5e9 || len(g.Networks[0].ReservedPorts) != 1 || g.Volumes["data"] == nil || len(g.Services) != 1 {
		t.Error(asJSON(t, g))
	}
	var tasks []string
	for _, task := range g.Tasks {
		tasks = append(tasks, task.Name)
		if task.Vault == nil || task.Vault.Role != "r" {
			t.Errorf("%s has not the vault of its group", task.Name)
		}
	}
	if diff := cmp.Diff([]string{"prepare", "main", "helper-a", "helper-b"}, tasks); diff != "" {
		t.Error(diff)
	}
	if main := g.Tasks[1]; !main.Leader || main.Env["LEVEL"] != "7" || !cmp.Equal(main.Config["args"], []any{"${LEVEL}", "dc1"}) {
		t.Error(asJSON(t, main))
	}
}

func TestFieldsThatCairnOwnsAreRefusedAtEachLevelOfAGroup(t *testing.T) {
	words := map[string]string{
		"restart": "write a retry block", "reschedule": "write a retry block", "disconnect": "on_worker_loss", "scaling": "write count in the task",
		"count": "write count in the task", "update": "leave it out", "migrate": "leave it out", "periodic": "schedule", "parameterized": "param",
		"stop_after_client_disconnect": "on_worker_loss",
	}
	for name, word := range words {
		for level, src := range map[string]string{
			"beside": name + " {}\ngroup {\n task \"x\" {\n driver = \"d\"\n }\n}",
			"group":  "group {\n " + name + " {}\n task \"x\" {\n driver = \"d\"\n }\n}",
			"made":   "group {\n dynamic \"" + name + "\" {\n for_each = []\n content {}\n }\n task \"x\" {\n driver = \"d\"\n }\n}",
			"task":   "group {\n task \"x\" {\n driver = \"d\"\n " + name + " {}\n }\n}",
			"second": "group {\n task \"x\" {\n driver = \"d\"\n }\n task \"y\" {\n driver = \"d\"\n " + name + " = 1\n }\n}",
		} {
			got := groupProblemsOf(t, src, Options{}, nil)
			if len(got) != 1 || !strings.Contains(got[0], name+" cannot be written here.") || !strings.Contains(got[0], word) {
				t.Errorf("%s, %s: %q", level, name, got)
			}
		}
	}
}

func TestMistakesInGroups(t *testing.T) {
	task := "task \"x\" {\n driver = \"d\"\n}"
	helper := "task \"x\" {\n driver = \"d\"\n lifecycle {\n hook = \"poststop\"\n }\n}"
	for _, test := range []struct{ src, want string }{
		{"datacenters = []", "1,1-1 Missing group block: Write group { … } with the tasks that run together."},
		{"dynamic \"group\" {\n for_each = [1]\n content {\n " + task + "\n }\n}", "1,1-16 No dynamic group: A task has one group, which no dynamic block can make. Write group { … }."},
		{"group \"web\" {\n" + task + "\n}", "1,7-12 Extraneous label: group takes no label: write group { … }."},
		{"group {\n" + task + "\n}\ngroup {\n" + task + "\n}", "6,1-6 Duplicate block: group may be written once; the first one is at test.hcl:1."},
		{"group {}", `1,1-6 No task: This group has no task. Write task "name" { … } in it for each program that it runs.`},
		{"group {\n" + helper + "\n}", "1,1-6 No main task: Every task of this group has a lifecycle block, so none does the work that the group is for. " +
			"The group's verdict is that of its main tasks: give it at least one task without lifecycle."},
		{"group {\n dynamic \"task\" {\n for_each = []\n labels = [\"x\"]\n content {}\n }\n}", `1,1-1 No task: This group has no task. Write task "name" { … } in it for each program that it runs.`},
		{"group {\n" + task + "\n" + task + "\n}", `5,6-9 Duplicate task: The group has a task "x" at test.hcl:2 already. Each task of a group has a name of its own.`},
		{"group {\n task \"x\" {}\n}", `2,7-10 Missing driver: Task "x" of the group has no driver. Write driver = "docker" (or exec, raw_exec, java, …).`},
		{"driver = \"d\"\ngroup {\n" + task + "\n}", "1,1-7 Not beside a group: driver cannot be written here. The body of this task is its group block: write it in there, or in one of the tasks of the group."},
		{"vault {}\ngroup {\n" + task + "\n}", "1,1-6 Not beside a group: vault cannot be written here. The body of this task is its group block: write it in there, or in one of the tasks of the group."},
		{"priority = 3\ngroup {\n" + task + "\n}", "1,1-9 Not for a workflow's task: priority cannot be written here. Write priority in the workflow."},
		{"group {\n datacenters = []\n" + task + "\n}", "2,2-13 Not in a group: datacenters cannot be written here. It says where the job may run: write it beside the group block."},
		{"grop {\n" + task + "\n}\ngroup {\n" + task + "\n}", `1,1-5 Unsupported block: Nomad knows no block "grop" here. Did you mean "group"?`},
		{"group {\n" + task + "\n netwrk {}\n}", `5,2-8 Unsupported block: Nomad knows no block "netwrk" here. Did you mean "network"?`},
		{"group {\n task \"x\" {\n driver = \"d\"\n user = parm.x\n }\n}", `4,9-13 Unknown variable: There is no variable named "parm". Did you mean "param"?`},
		{"group {\n task \"x\" {\n driver = \"d\"\n user = upper(node.id)\n }\n}", "4,15-22 Computing with a run-time reference: node.id is known only on the machine where the task runs: " +
			"it can be part of a text, but not be compared, indexed or given to a function that looks at it. Compute inside the task instead, or write $${node.id} to hand the text itself to Nomad."},
		{"group {\n task \"x\" {\n driver = \"d\"\n config {\n a = null\n }\n kill_timeout = null\n }\n}", `7,17-21 Wrong value: kill_timeout is null; leave it out, or write a duration such as "90s".`},
	} {
		got := groupProblemsOf(t, test.src, Options{Own: map[string]bool{groupName: true}}, map[string]cty.Value{"param": object("x", "y")})
		if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s\n%s", test.src, diff)
		}
	}
}

func TestATaskOfAGroupReadsTheNamesOfItsOwnEnv(t *testing.T) {
	src := func(second string) string {
		return "group {\n task \"a\" {\n driver = \"d\"\n env {\n LEVEL = \"1\"\n }\n config {\n x = \"${LEVEL}\"\n }\n }\n" +
			" task \"b\" {\n driver = \"d\"\n " + second + "\n config {\n x = \"${LEVEL}\"\n }\n }\n}"
	}
	if got := groupProblemsOf(t, src("env = { LEVEL = 2 }"), Options{}, nil); got != nil {
		t.Errorf("%q", got)
	}
	if got := groupProblemsOf(t, src(""), Options{}, nil); len(got) != 1 || !strings.Contains(got[0], "Unknown variable") {
		t.Errorf("the name of another task's env: %q", got)
	}
	made := "group {\n dynamic \"task\" {\n for_each = [\"a\"]\n labels = [task.value]\n content {\n driver = \"d\"\n env {\n A = \"1\"\n }\n config {\n x = \"${A}${task.value}\"\n }\n }\n }\n}"
	g := decodeGroup(t, made, nil)
	if got := g.Group.Tasks[0].Config["x"]; got != "${A}a" {
		t.Errorf("in a task that a dynamic block makes: %q", got)
	}
}

// Every text of every task that a client reads again is escaped in the way of its field, whichever task it is.
func TestDataNeverBecomesATemplateInAnyTaskOfAGroup(t *testing.T) {
	data := "${node.id} %{ if } {{ env \"SECRET\" }}"
	task := func(name string) string {
		return "task \"" + name + "\" {\n driver = \"d\"\n env {\n A = param.x\n}\n config {\n a = [param.x]\n b {\n c = \"${param.x} ${node.id}\"\n }\n }\n" +
			" template {\n data = \"${param.x}{{ env \\\"OWN\\\" }}\"\n }\n" +
			" template {\n data = param.x\n left_delimiter = \"[[\"\n right_delimiter = \"]]\"\n }\n }\n"
	}
	g := decodeGroup(t, "group {\n "+task("one")+task("two")+" dynamic \"task\" {\n for_each = [1]\n labels = [\"three\"]\n content {\n"+
		strings.TrimSuffix(strings.TrimPrefix(task("three"), "task \"three\" {"), "}\n")+"}\n }\n}", map[string]cty.Value{"param": object("x", data)})
	if len(g.Group.Tasks) != 3 {
		t.Fatal(asJSON(t, g))
	}
	escaped := `$${node.id} %%{ if } {{ env "SECRET" }}`
	for _, task := range g.Group.Tasks {
		want := &nomadapi.Task{
			Name: task.Name, Driver: "d", Meta: map[string]string{dollarMeta: "$"},
			Env:       map[string]string{"A": `${NOMAD_META_cairn_dollar}{node.id} %{ if } {{ env "SECRET" }}`},
			Config:    map[string]any{"a": []any{escaped}, "b": []any{map[string]any{"c": escaped + " ${node.id}"}}},
			Templates: task.Templates,
		}
		if diff := cmp.Diff(want, task); diff != "" {
			t.Error(diff)
		}
		if want, got := `${node.id} %{ if } {{"{"}}{ env "SECRET" }}{{ env "OWN" }}`, *task.Templates[0].EmbeddedTmpl; got != want {
			t.Errorf("%s: template %s, wanted %s", task.Name, got, want)
		}
		if got := *task.Templates[1].EmbeddedTmpl; got != data {
			t.Errorf("%s: template with other delimiters %s", task.Name, got)
		}
	}
	b, opts := parseBody(t, "group {\n service {\n name = param.x\n }\n task \"x\" {\n driver = \"d\"\n user = param.x\n }\n}")
	body, diags := CompileGroup(b, opts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if diags := body.Check(evalContext(map[string]cty.Value{"param": object("x", data)})); len(diags) != 2 {
		t.Errorf("where nothing can be escaped: %v", diags)
	}
}

func TestPlacementOfDefaultsReachesAGroup(t *testing.T) {
	defaults, _ := parseBody(t, "driver = \"x\"\nregion = \"eu\"\nnode_pool = \"a\"\nenv {\n A = \"1\"\n}\nconstraint {\n attribute = \"a\"\n}\ndynamic \"spread\" {\n for_each = [\"s\"]\n content {\n attribute = spread.value\n }\n}")
	own, opts := parseBody(t, "node_pool = \"b\"\nconstraint {\n attribute = \"b\"\n}\ngroup {\n task \"x\" {\n driver = \"d\"\n }\n}")
	body, diags := CompileGroup(MergePlacement(defaults, own), opts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	g, diags := body.DecodeGroup(evalContext(nil))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	want := &nomadapi.Job{
		Region: ptr("eu"), NodePool: ptr("b"),
		Constraints: []*nomadapi.Constraint{{LTarget: "a", Operand: "="}, {LTarget: "b", Operand: "="}},
		Spreads:     []*nomadapi.Spread{{Attribute: "s"}},
	}
	if diff := cmp.Diff(want, g.Job); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]*nomadapi.Task{{Name: "x", Driver: "d"}}, g.Group.Tasks); diff != "" {
		t.Error(diff)
	}
}

// The forms differ in what they take at the top, and agree with what they say of it.
func TestThePlacementWordsAreFieldsOfAJob(t *testing.T) {
	words := slices.Sorted(maps.Keys(placementWords))
	if diff := cmp.Diff(words, slices.DeleteFunc(slices.Sorted(maps.Keys(bodies().grouped.byName)), func(n string) bool { return n == groupName })); diff != "" {
		t.Error(diff)
	}
	for _, w := range words {
		if bodies().job.byName[w] == nil || !IsPlacement(w) || !IsTaskField(w) {
			t.Errorf("%s is not a field of a job that tasks take too", w)
		}
	}
}

// What is the same in both forms means the same.
func TestAGroupWithOneTaskIsTheInlineBody(t *testing.T) {
	task := "driver = \"d\"\nenv {\n A = param.x\n}\nconfig {\n a = \"${A} ${param.x}\"\n}\ntemplate {\n data = param.x\n}\n"
	vars := map[string]cty.Value{"param": object("x", "${y} {{ z }}")}
	inline := decodeTask(t, task+"region = \"eu\"\n", vars).Assemble("work")
	grouped := decodeGroup(t, "region = \"eu\"\ngroup {\n task \"work\" {\n "+task+" }\n}", vars).Assemble("work")
	if diff := cmp.Diff(inline, grouped); diff != "" {
		t.Error(diff)
	}
	var diags hcl.Diagnostics
	b, opts := parseBody(t, task)
	body, more := CompileTask(b, opts)
	job, most := body.Job(evalContext(vars), "work")
	if diags = append(more, most...); diags.HasErrors() || !cmp.Equal(job.TaskGroups, inline.TaskGroups) {
		t.Errorf("%v %s", diags, asJSON(t, job))
	}
}
