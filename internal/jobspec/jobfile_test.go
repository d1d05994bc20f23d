// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"
)

// jobSource is a job file with the given blocks before its job, whose name is an expression.
func jobSource(preamble, name string) []byte {
	return []byte(preamble + "\njob \"x\" {\n  name = " + name + "\n  group \"g\" {\n    task \"t\" {\n      driver = \"exec\"\n    }\n  }\n}\n")
}

func TestJobFileVariables(t *testing.T) {
	preamble := "variable \"n\" {\n  type = number\n}\nvariable \"s\" {\n  default = \"d\"\n}\nlocals {\n  b = \"${local.a}!\"\n  a = \"${var.s}-${var.n}\"\n}"
	file, diags := CompileJob("x.hcl", jobSource(preamble, `"${local.b} ${someone.elses} ${ NOMAD_X }"`), Functions())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if diff := cmp.Diff([]string{"n", "s"}, file.VariableNames()); diff != "" {
		t.Error(diff)
	}
	if _, diags := ParseVariableFile("v.hcl", []byte("s = \"${x}\"\n")); !diags.HasErrors() {
		t.Error("a file of values may not refer to anything")
	}
	vars, diags := ParseVariableFile("v.hcl", []byte("n = \"7\"\ns = \"$${x}\"\n"))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	job, diags := file.Decode(vars)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	// As in Nomad: unknown roots stay text, and nothing is escaped.
	if want := "${x}-7! ${someone.elses} ${ NOMAD_X }"; *job.Name != want || *job.ID != "x" {
		t.Errorf("got %q, wanted %q", *job.Name, want)
	}
	if diags := file.Check(map[string]cty.Value{"n": cty.UnknownVal(cty.Number)}); diags.HasErrors() {
		t.Error(diags)
	}
}

func TestJobFileMistakes(t *testing.T) {
	validation := "variable \"n\" {\n  default = 1\n  validation {\n    condition = %s\n    error_message = \"Above five.\"\n  }\n}"
	for _, test := range []struct {
		preamble string
		vars     map[string]cty.Value
		want     string
	}{
		{"variable \"n\" {}", nil, `1,10-13: Missing variable; The variable "n" has no default, so it needs a value.`},
		{"variable \"number\" {\n  default = 1\n}", map[string]cty.Value{"numbr": cty.Zero}, `4,1-8: Undeclared variable; The job file declares no variable "numbr". Did you mean number?`},
		{"variable \"n\" {\n  type = number\n}", map[string]cty.Value{"n": cty.StringVal("x")}, `1,10-13: Wrong type of value; The value given for n does not have its type: a number is required.`},
		{"variable \"n\" {\n  type = number\n  default = \"x\"\n}", nil, `3,13-16: Wrong type of value; The default of n does not have its type: a number is required.`},
		{"variable \"n\" {\n  default = 1\n}\nvariable \"n\" {\n  default = 1\n}", nil, `4,10-13: Duplicate variable; The variable "n" is declared at x.hcl:1 already.`},
		{strings.Replace(validation, "%s", "var.n > 5", 1), nil, `1,10-13: Invalid value for a variable; Above five. (The rule is at x.hcl:3.)`},
		{strings.Replace(validation, "%s", "var.m > 5", 1), nil, `4,17-22: Invalid reference; The condition of variable "n" refers to var.n only.`},
		{strings.Replace(validation, "%s", "true", 1), nil, `4,5-21: Invalid condition; The condition of variable "n" must look at var.n.`},
		{"locals {\n  a = local.b\n  b = local.a\n}", nil, `2,3-4: Circular locals; The local "a" depends on itself.`},
		{"locals {\n  a = 1\n}\nlocals {\n  a = 2\n}", nil, `5,3-4: Duplicate local; The local "a" is written at x.hcl:2 already.`},
		{"varible \"n\" {}", nil, `1,1-8: Unsupported block; A job file holds the blocks job, locals and variable, but no block "varible". Did you mean variable?`},
		{"name = 1", nil, `1,1-5: Unsupported argument; A job file holds the blocks job, locals and variable, but no argument "name".`},
		{"job \"y\" {}", nil, `3,1-4: Duplicate block; A file holds one job; the first one is at x.hcl:1.`},
	} {
		preamble := test.preamble
		if strings.HasPrefix(preamble, "job") {
			preamble += "\n"
		}
		file, diags := CompileJob("x.hcl", jobSource(preamble, `"x"`), Functions())
		if !diags.HasErrors() {
			_, diags = file.Decode(test.vars)
		}
		if got := strings.TrimPrefix(diags.Error(), "x.hcl:"); got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.preamble, got, test.want)
		}
	}
	if _, diags := CompileJob("x.hcl", []byte(" \n{\"job\": {}}"), Functions()); !diags.HasErrors() || !strings.Contains(diags.Error(), "JSON") {
		t.Error(diags)
	}
	if _, diags := CompileJob("x.hcl", []byte("locals {}"), Functions()); !diags.HasErrors() || !strings.Contains(diags.Error(), "Missing job block") {
		t.Error(diags)
	}
}

// Instances of one task are rendered from one Body, by whoever needs them.
func TestABodyIsDecodedByManyAtOnce(t *testing.T) {
	b, opts := parseBody(t, "config {\n  args = [param.list[*].a, [for x in param.list : \"${x.a}-${node.id}\"]]\n}\ndynamic \"template\" {\n  for_each = param.list\n  content {\n    data = template.value.a\n  }\n}")
	body, diags := CompileTask(b, opts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var wg sync.WaitGroup
	for _, want := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			ctx := evalContext(map[string]cty.Value{"param": object("list", cty.TupleVal([]cty.Value{object("a", want)}))})
			for range 50 {
				in, diags := body.DecodeTask(ctx)
				if diags.HasErrors() {
					t.Error(diags)
					return
				}
				got := []any{in.Task.Config["args"], *in.Task.Templates[0].EmbeddedTmpl}
				if diff := cmp.Diff([]any{[]any{[]any{want}, []any{want + "-${node.id}"}}, want}, got); diff != "" {
					t.Error(diff)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDiagnosticsComeInTheOrderOfTheSource(t *testing.T) {
	b, opts := parseBody(t, "zzz = 1\nuser = upper(node.id)\naaa = 1\nresources {\n  qqq = 1\n}\nbbb = 1")
	_, diags := CompileTask(b, opts)
	var lines []int
	for _, d := range diags {
		lines = append(lines, d.Subject.Start.Line)
	}
	if diff := cmp.Diff([]int{1, 2, 3, 5, 7}, lines); diff != "" {
		t.Error(diff)
	}
}
