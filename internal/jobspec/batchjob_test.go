// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"
)

// batchSource is a job file with the given blocks before its job and the given lines in it.
func batchSource(preamble, job string) []byte {
	return []byte(preamble + "\njob \"x\" {\n" + job + "\n  group \"g\" {\n    task \"t\" {\n      driver = \"exec\"\n    }\n  }\n}\n")
}

func TestAJobFileOfATaskIsABatchJob(t *testing.T) {
	const variable = "variable \"type\" {\n  type = string\n}"
	for _, test := range []struct{ preamble, job, want string }{
		{"", "  type = \"batch\"", ""},
		{"", "  type = \"service\"", "3,10-19: Not for a workflow's task; A service never ends by itself, and a task of a workflow has to end. Run it with nomad job run, or write type = \"batch\" if its tasks end."},
		{"", "", "2,1-8: Not for a workflow's task; A job file that says no type is a service, which never ends by itself, and a task of a workflow has to end. Write type = \"batch\" in the file."},
		{"", "  type = \"system\"", "3,10-18: Not for a workflow's task; A system job runs on every node for ever, and a task of a workflow has to end. Run it with nomad job run."},
		{"", "  type = \"sysbatch\"", "3,10-20: Not for a workflow's task; A sysbatch job runs on every node, those that join later included, so there is no moment when it is over. Write type = \"batch\", with for_each in the task to run it several times."},
		{"", "  type = \"bach\"", "3,10-16: Not for a workflow's task; A task of a workflow runs jobs of type batch; Nomad knows no type \"bach\"."},
		{"", "  type = \"batch\"\n  parameterized {}", "4,3-16: Not for a workflow's task; A parameterized job does nothing until it is dispatched. Register it with Nomad, and write a dispatch block in the task instead of job."},
		{"", "  type = \"batch\"\n  periodic {\n    cron = \"* * * * *\"\n  }", "4,3-11: Not for a workflow's task; A periodic job is started by Nomad's clock and not by a workflow. Take the block out of the file, or register a parameterized job with Nomad and write a dispatch block in the task."},
		{"", "  type = \"batch\"\n  dynamic \"periodic\" {\n    for_each = []\n    content {}\n  }", "4,11-21: Not for a workflow's task; " + unfitBlocks["periodic"]},
		{variable, "  type = var.type", "5,10-18: Not for a workflow's task; " + unfitTypes["service"]},
	} {
		j, diags := CompileBatchJob("x.hcl", batchSource(test.preamble, test.job), Functions())
		if (j == nil) != diags.HasErrors() {
			t.Fatalf("%v %v", j, diags)
		}
		if j != nil {
			vars := map[string]cty.Value{}
			if test.preamble != "" {
				if diags := j.Check(map[string]cty.Value{"type": cty.UnknownVal(cty.String)}); diags.HasErrors() {
					t.Errorf("refused a type that is not known yet: %v", diags)
				}
				vars["type"] = cty.StringVal("service")
			}
			_, diags = j.Decode(vars)
		}
		got := ""
		if diags.HasErrors() {
			got = strings.TrimPrefix(diags.Error(), "x.hcl:")
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s\n%s", test.job, diff)
		}
		if whole, diags := CompileJob("x.hcl", batchSource(test.preamble, test.job), Functions()); whole == nil {
			t.Errorf("as a job file of its own: %v", diags)
		}
	}
}

func TestAJobFileTakesNoTemplatesFromData(t *testing.T) {
	src := batchSource("variable \"v\" {}", "  type = \"batch\"\n  name = \"${var.v} ${NOMAD_X}\"")
	j, diags := CompileBatchJob("x.hcl", src, Functions())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	ctx := evalContext(map[string]cty.Value{"param": object("x", "{{ ${y} $${z} %{ }", "plain", `{"a":"$1"}`, "quote", `a"`)})
	for expr, want := range map[string]string{
		`param.plain`:                       `{"a":"$1"} ${NOMAD_X}`,
		`"${node.id} $${y} {{ x }}"`:        `${node.id} ${y} {{ x }} ${NOMAD_X}`,
		`"${param.plain}${NOMAD_DC}"`:       `{"a":"$1"}${NOMAD_DC} ${NOMAD_X}`,
		`"{{ key \"${param.plain}\" }}"`:    "",
		`"{{ key \"${param.quote}\" }}"`:    "",
		`substr(param.x, 0, 2)`:             "",
		`substr(param.x, 3, 4)`:             "",
		`[param.x]`:                         "",
		`{ a = { (param.x) = 1 } }`:         "",
		`substr(param.x, 14, 2)`:            "",
		`"${substr(param.x, 0, 1)}{ .x }}"`: "",
	} {
		job, diags := j.Decode(map[string]cty.Value{"v": authoredLocal(t, expr, ctx)})
		switch {
		case want != "" && (diags.HasErrors() || *job.Name != want):
			t.Errorf("%s: %v %v", expr, job, diags)
		case want == "" && (!diags.HasErrors() || !strings.HasPrefix(diags.Error(), "x.hcl:1,10-13: Value that Nomad would evaluate; The value given for v contains ${, %{ or {{")):
			t.Errorf("%s was taken: %v", expr, diags)
		}
	}
}

func TestFilesOfAJobFile(t *testing.T) {
	src := batchSource("variable \"v\" {\n  default = \"a\"\n  validation {\n    condition = fileexists(\"${\"c\"}.txt\") || var.v != \"\"\n    error_message = \"x\"\n  }\n}\n"+
		"locals {\n  a = file(\"../shared/a.txt\")\n}",
		"  type = \"batch\"\n  name = \"${local.a}-${filebase64(\"b.txt\")}-${fileexists(\"./b.txt\")}-${fileexists(\"none\")}-${basename(\"x/y\")}-${pathexpand(\"z\")}-${abspath(\"/q/../r\")}\"")
	files := fstest.MapFS{"shared/a.txt": {Data: []byte("A ${x}")}, "jobs/b.txt": {Data: []byte("B")}}
	j, diags := CompileBatchJob("jobs/x.nomad.hcl", src, AllFunctions("jobs", files.ReadFile))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	named, diags := j.Files()
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got []string
	for _, f := range named {
		got = append(got, fmt.Sprint(f.Path, f.Optional))
	}
	if diff := cmp.Diff([]string{"jobs/b.txtfalse", "jobs/c.txttrue", "jobs/nonetrue", "shared/a.txtfalse"}, got); diff != "" {
		t.Error(diff)
	}
	job, diags := j.Decode(nil)
	if diags.HasErrors() || *job.Name != "A ${x}-Qg==-true-false-y-z-/r" {
		t.Errorf("%v %v", job, diags)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	files := fstest.MapFS{"jobs/binary": {Data: []byte{0xff}}, "jobs/x": {Data: []byte("x")}}
	for expr, want := range map[string]string{
		`file("../../etc/passwd")`: `file: "../../etc/passwd" is outside of the workflow's folder; a workflow reads the files below it only`,
		`file("/etc/passwd")`:      "outside of the workflow's folder",
		`file("~/x")`:              "outside of the workflow's folder",
		`file("")`:                 "the path names no file",
		`file(".")`:                "the path names no file",
		`file(var.v)`:              "The path that file reads must be plain text without references",
		`file("${local.l}.txt")`:   "must be plain text without references",
		`file(1)`:                  "must be plain text",
		`file("none")`:             "there is no file jobs/none in the workflow's folder",
		`file("binary")`:           "binary is not UTF-8 text; filebase64 reads any file",
		`fileset(".", "*")`:        "holds the files that are named one by one",
		`abspath("x")`:             "no working folder",
		`pathexpand("~")`:          "no home folder",
	} {
		src := batchSource("variable \"v\" {\n  default = \"x\"\n}\nlocals {\n  l = \"x\"\n}", "  type = \"batch\"\n  name = "+expr)
		j, diags := CompileBatchJob("jobs/x.hcl", src, AllFunctions("jobs", files.ReadFile))
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		_, listed := j.Files()
		_, decoded := j.Decode(nil)
		if diags := append(listed, decoded...); !diags.HasErrors() || !strings.Contains(fmt.Sprint(diags.Errs()), want) {
			t.Errorf("%s: %v", expr, diags)
		}
	}
}

func TestTemplateFiles(t *testing.T) {
	files := fstest.MapFS{
		"t.tpl":    {Data: []byte("${upper(a)} %{ for x in l }${x};%{ endfor }")},
		"node.tpl": {Data: []byte("${node.id} ${a} {{ b }} $${c}")},
		"self.tpl": {Data: []byte(`${templatefile("t.tpl", {})}`)},
		"bad.tpl":  {Data: []byte("${upper(node.id)}")},
		"var.tpl":  {Data: []byte("${upper(a)}")},
		"num.tpl":  {Data: []byte("${a}")},
	}
	vars := map[string]cty.Value{"param": object("x", "${d}{{ e }}", "u", cty.UnknownVal(cty.String))}
	plain, body := evalContext(vars), evalContext(vars)
	plain.Functions = Functions()
	plain.Functions["templatefile"] = TemplateFile(".", files.ReadFile, plain.Functions, false)
	body.Functions["templatefile"] = TemplateFile(".", files.ReadFile, body.Functions, true)
	eval := func(expr string, forBody bool) string {
		parsed, opts := parseBody(t, "x = "+expr)
		e := parsed.Attributes["x"].Expr
		ctx := plain
		if forBody {
			ctx = body
			rewritten, diags := RewriteExpr(e, opts)
			if diags.HasErrors() {
				return diags.Error()
			}
			e = rewritten
		}
		v, diags := e.Value(ctx)
		switch {
		case diags.HasErrors():
			return diags.Error()
		case !v.IsKnown():
			return "unknown"
		case forBody:
			return clientText(v.AsString())
		}
		return v.AsString()
	}
	for _, test := range []struct {
		expr    string
		forBody bool
		want    string
	}{
		{`templatefile("t.tpl", { a = "x", l = ["1", 2] })`, false, "X 1;2;"},
		{`templatefile("t.tpl", { a = "x", l = ["1", 2] })`, true, "X 1;2;"},
		{`templatefile("node.tpl", { a = param.x })`, true, "${node.id} $${d}{{ e }} {{ b }} ${c}"},
		{`templatefile("num.tpl", { a = 7 })`, true, "7"},
		{`templatefile("num.tpl", { a = param.u })`, true, "unknown"},
		{`templatefile("num.tpl", { a = "${node.id}" })`, true, "${node.id}"},
	} {
		if got := eval(test.expr, test.forBody); got != test.want {
			t.Errorf("%s: got %q, wanted %q", test.expr, got, test.want)
		}
	}
	for expr, want := range map[string]string{
		`templatefile("self.tpl", {})`:                  "no function named \"templatefile\"",
		`templatefile("bad.tpl", {})`:                   "Computing with a run-time reference",
		`templatefile("var.tpl", { a = "${node.id}" })`: "Computing with a run-time reference",
		`templatefile("none.tpl", {})`:                  "there is no file none.tpl",
		`templatefile("t.tpl", "x")`:                    "its second argument is a map of values",
		`templatefile("t.tpl", { a = "x" })`:            "no variable named \"l\"",
	} {
		if got := eval(expr, true); !strings.Contains(got, want) {
			t.Errorf("%s: %s", expr, got)
		}
	}
	b, _ := parseBody(t, "data = templatefile(\"t.tpl\", { a = file(\"b\") })")
	named, diags := NamedFiles("sub", b)
	if diags.HasErrors() || len(named) != 2 || named[0].Path != "sub/b" || named[1].Path != "sub/t.tpl" {
		t.Errorf("%v %v", named, diags)
	}
}
