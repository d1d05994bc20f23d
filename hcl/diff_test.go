// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

// changes are what Diff says, a line each: + - or ~, the path, and what stood and stands there.
func changes(t *testing.T, old, new []workflow.File) string {
	t.Helper()
	compile := func(files []workflow.File) *workflow.Definition {
		def, diags := Compile(files, "w")
		if diags.HasErrors() {
			t.Fatalf("%s", diags)
		}
		return def
	}
	var b strings.Builder
	for _, c := range Diff(compile(old), compile(new)) {
		sign := map[Action]string{Added: "+", Removed: "-", Changed: "~"}[c.Action]
		fmt.Fprintf(&b, "%s %s: %s => %s\n", sign, strings.Join(c.Path, " / "), c.Old, c.New)
	}
	return b.String()
}

// oneTask is a workflow of one task, with more in the task and beside it.
func oneTask(inTask, beside string) []workflow.File {
	return []workflow.File{{Path: "w.hcl", Bytes: []byte(fmt.Sprintf(`workflow "w" {
  %s
  task "t" {
    driver = "raw_exec"
    config { command = "/bin/true" }
    %s
  }
}
`, beside, inTask))}}
}

func TestDiffIsByBlockAndAttribute(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, oldBeside, newBeside, want string }{
		"nothing": {},
		"an attribute that is new": {new: `timeout = "5m"`,
			want: "+ task \"t\" / timeout:  => \"5m\"\n"},
		"an attribute that is gone": {old: `timeout = "5m"`,
			want: "- task \"t\" / timeout: \"5m\" => \n"},
		"an attribute with another value": {old: `timeout = "5m"`, new: `timeout = "6m"`,
			want: "~ task \"t\" / timeout: \"5m\" => \"6m\"\n"},
		"layout, comments and order": {
			old: "timeout=\"5m\"\n env { \n A = \"1\" \n B = \"2\"\n }", new: "env {\n # a comment\n B   = \"2\"\n A = \"1\"\n}\n timeout = /* x */ \"5m\""},
		"a list over several lines": {old: "count = length([1,2])", new: "count = length([\n1, # one\n 2,\n])"},
		"one element of a map": {old: `env { A = "1" }`, new: `env { A = "2" }`,
			want: "~ task \"t\" / env / A: \"1\" => \"2\"\n"},
		"one element of an object": {oldBeside: `labels = { team = "a", x = "1", "a b" = "2" }`, newBeside: `labels = { "x" = "1", team = "b", "a b" = "2" }`,
			want: "~ labels / team: \"a\" => \"b\"\n"},
		"a block that is new": {new: "retry {\n max_attempts=3 \n}",
			want: "+ task \"t\" / retry:  => retry {\n  max_attempts = 3\n}\n"},
		"one of several blocks without labels": {
			old:  "constraint {\n attribute = \"a\"\n value = \"1\"\n }\n constraint {\n attribute = \"b\"\n value = \"1\"\n }",
			new:  "constraint {\n attribute = \"c\"\n value = \"1\"\n }\n constraint {\n attribute = \"a\"\n value = \"1\"\n }",
			want: "~ task \"t\" / constraint / attribute: \"b\" => \"c\"\n"},
		"one block more without labels": {
			old:  "constraint {\n attribute = \"a\"\n value = \"1\"\n }",
			new:  "constraint {\n attribute = \"b\"\n value = \"1\"\n }\n constraint {\n attribute = \"a\"\n value = \"1\"\n }",
			want: "+ task \"t\" / constraint:  => constraint {\n  attribute = \"b\"\n  value = \"1\"\n}\n"},
		"a task for another": {oldBeside: "task \"old\" {\n depends_on = [task.t]\n }", newBeside: "task \"new\" {\n depends_on = [ task.t ]\n }",
			want: "+ task \"new\":  => task \"new\" {\n  depends_on = [task.t]\n}\n- task \"old\": task \"old\" {\n  depends_on = [task.t]\n} => \n"},
		"a task that becomes a finally task": {oldBeside: "task \"x\" {\n depends_on = [task.t]\n }", newBeside: "finally \"x\" {\n driver = \"raw_exec\"\n config { command = \"x\" }\n }",
			want: "+ finally \"x\":  => finally \"x\" {\n  driver = \"raw_exec\"\n  config {\n    command = \"x\"\n  }\n}\n" +
				"- task \"x\": task \"x\" {\n  depends_on = [task.t]\n} => \n"},
		"locals in one block or two": {oldBeside: "locals {\n a = 1\n b = 2\n }", newBeside: "locals {\n b = 2\n }\n locals {\n a = 1\n }"},
		"a value that becomes an object": {oldBeside: "locals {\n a = 1\n }", newBeside: "locals {\n a = { x = [1,2], y = { z = 3 } }\n }",
			want: "~ locals / a: 1 => a = {\n  x = [1, 2]\n  y = {\n    z = 3\n  }\n}\n"},
		"spaces in an expression": {old: "when=1+1==2", new: "when = 1 + 1 == 2"},
		"another text in a heredoc": {
			old: "template {\n destination = \"local/x\"\n data = <<-EOF\n  a\n  b\n  EOF\n }", new: "template {\n destination = \"local/x\"\n data = <<-EOF\n      a\n      c\n      EOF\n }",
			want: "~ task \"t\" / template / data: <<-EOF\na\nb\nEOF => <<-EOF\na\nc\nEOF\n"},
		"a default that is sensitive": {
			oldBeside: "param \"p\" {\n sensitive = true\n default = \"hunter2\"\n }", newBeside: "param \"p\" {\n sensitive = true\n default = \"hunter3\"\n }",
			want: "~ param \"p\" / default: (sensitive) => (sensitive)\n"},
		"a param that is sensitive": {newBeside: "param \"p\" {\n default = \"hunter2\"\n sensitive = true\n }",
			want: "+ param \"p\":  => param \"p\" {\n  default = (sensitive)\n  sensitive = true\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := changes(t, oneTask(tc.old, tc.oldBeside), oneTask(tc.new, tc.newBeside))
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
		})
	}
}

func file(path, text string, named bool) workflow.File {
	return workflow.File{Path: path, Bytes: []byte(text), Named: named}
}

func TestDiffLooksAtWhatADefinitionCarriesAlong(t *testing.T) {
	base := oneTask(`env { A = file("a.sql") }`, "")
	with := func(files ...workflow.File) []workflow.File {
		return append(append([]workflow.File{}, base...), files...)
	}
	sql, more := file("a.sql", "select 1\n", true), file("a.sql", "select 2\n", true)
	other := `workflow "x" {
  param "p" {
    sensitive = true
    default   = "%s"
  }
  task "t" {}
}`
	for name, tc := range map[string]struct {
		old, new []workflow.File
		want     string
	}{
		"a file with another text": {with(sql), with(more), "~ file \"a.sql\": select 1\n => select 2\n\n"},
		"a file that is large":     {with(sql), with(file("a.sql", strings.Repeat("x", maxShownFile+1), true)), "~ file \"a.sql\": select 1\n => \n"},
		"a file of other bytes":    {with(sql), with(file("b.sql", "\x00\xff", true), sql), "+ file \"b.sql\":  => \n"},
		"locals at the top": {with(sql, file("l.hcl", "locals { a = 1 }", false)), with(sql, file("l.hcl", "locals { a = 2 }", false)),
			"~ locals at the top / a: 1 => 2\n"},
		"another file of its own": {with(sql, file("l.hcl", "locals { a = 1 }", false)), with(sql, file("m.hcl", "locals { a = 1 }", false)), ""},
		"another workflow beside it": {with(sql, file("x.hcl", fmt.Sprintf(other, "a"), false)), with(sql, file("x.hcl", fmt.Sprintf(other, "b"), false)),
			"~ workflow \"x\":  => \n"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, changes(t, tc.old, tc.new)); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
		})
	}
}

func TestEverythingIsNewOfANewWorkflow(t *testing.T) {
	def, diags := Compile(oneTask("", "param \"p\" {\n type = string\n }\n description = \"d\""), "w")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got []string
	for _, c := range Diff(nil, def) {
		got = append(got, string(c.Action)+" "+strings.Join(c.Path, "/"))
	}
	if d := cmp.Diff([]string{`added param "p"`, "added description", `added task "t"`}, got); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

// Nothing that a definition could hold may break it: old ones were written for another language.
func FuzzDiff(f *testing.F) {
	f.Add("workflow \"w\" {\n a = [1, {b = <<X\n1\nX\n}]\n}", "workflow \"w\" { locals { a = f(1, 2...) } }")
	f.Add("locals {", "workflow w {\n a = \"${b\n")
	f.Fuzz(func(t *testing.T, old, new string) {
		of := func(text string) *workflow.Definition {
			return &workflow.Definition{Name: "w", Files: []workflow.File{file("w.hcl", text, false), file("n", text, true)}}
		}
		for _, c := range Diff(of(old), of(old)) {
			t.Errorf("a difference to itself: %+v", c)
		}
		Diff(of(old), of(new))
	})
}
