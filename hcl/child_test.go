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

// childOf is what the body of a task says of the run it starts.
func childOf(t testing.TB, def *workflow.Definition, e *Evaluator, task string, scope workflow.Scope) workflow.ChildBody {
	t.Helper()
	v, err := e.Evaluate(*taskNamed(t, def, task).Body, scope)
	if err != nil {
		t.Fatal(err)
	}
	var body workflow.ChildBody
	if err := json.Unmarshal(v.JSON, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func paths(files []workflow.File) string {
	var out []string
	for _, f := range files {
		name := f.Path
		if f.Named {
			name = "(" + name + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestChildIsCompiledFromTheFilesOfItsParent(t *testing.T) {
	def, e := bodiesFolder(t)
	const all = "(child/text.txt) (child/workflow.hcl) (jobs/batch.nomad.hcl) (jobs/note.txt) (sql/days.tpl) (sql/load.sql) workflow.hcl"
	if got := paths(def.Files); got != all {
		t.Errorf("files of the parent: got %s, want %s", got, all)
	}
	body := childOf(t, def, e, "child", bodiesScope(t))
	child, eval, err := e.Child(body)
	if err != nil {
		t.Fatal(err)
	}
	// The other workflow of its file calls the parent, so the parent's files are the child's too.
	if got, want := paths(child.Files), "(child/text.txt) child/workflow.hcl (jobs/batch.nomad.hcl) (jobs/note.txt) (sql/days.tpl) (sql/load.sql) (workflow.hcl)"; got != want {
		t.Errorf("files of the child: got %s, want %s", got, want)
	}
	if child.Name != "child" || child.Hash == def.Hash {
		t.Errorf("child %s has the hash %s", child.Name, child.Hash)
	}
	again, sameEval, err := e.Child(body)
	if err != nil || again != child || sameEval != eval {
		t.Errorf("the same body gave another definition (%v)", err)
	}
	// Who reads the definition anew meets the same child.
	stored, err := workflow.EncodeDefinition(def)
	if err != nil {
		t.Fatal(err)
	}
	read, err := workflow.DecodeDefinition(stored)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := NewEvaluator(read)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := fresh.Child(body)
	if err != nil || other.Hash != child.Hash {
		t.Errorf("after storing: hash %s, want %s (%v)", other.Hash, child.Hash, err)
	}
}

func TestWorkflowThatRunsItselfIsItsOwnChild(t *testing.T) {
	def, e := bodiesFolder(t)
	child, eval, err := e.Child(childOf(t, def, e, "child", bodiesScope(t)))
	if err != nil {
		t.Fatal(err)
	}
	scope := workflow.Scope{Shared: &workflow.Shared{Params: values(t, map[string]any{"rows": 2, "name": "a", "token": "x"})}}
	again, sameEval, err := eval.Child(childOf(t, child, eval, "again", scope))
	if err != nil || again != child || sameEval != eval {
		t.Errorf("it is not its own child: %v", err)
	}
	// A child that calls its parent by way of the folder gets the very definition.
	up, _, err := e.Child(workflow.ChildBody{Source: "."})
	if err != nil || up != def {
		t.Errorf("the parent by its folder: %v", err)
	}
}

func TestParamsOfAChild(t *testing.T) {
	def, e := bodiesFolder(t)
	body := childOf(t, def, e, "child", bodiesScope(t))
	child, eval, err := e.Child(body)
	if err != nil {
		t.Fatal(err)
	}
	params, diags := Params(child, GivenByParent(body.Params), workflow.RunValues{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := map[string]workflow.Value{
		"rows": {JSON: []byte("42")}, "name": {JSON: []byte(`"a"`)},
		// Neither is declared sensitive in the child: the one was in the parent, and the other is computed from it.
		"token": {JSON: []byte(`"hunter2"`), Sensitive: true}, "greeting": {JSON: []byte(`"Hello hunter2"`), Sensitive: true},
	}
	if diff := cmp.Diff(want, params); diff != "" {
		t.Errorf("params, -want +got:\n%s", diff)
	}
	v, err := eval.Evaluate(*taskNamed(t, child, "work").Body, workflow.Scope{Shared: &workflow.Shared{Params: params}})
	if err != nil || !v.Sensitive || !strings.Contains(string(v.JSON), "text of the child") {
		t.Errorf("a body that reads them: sensitive %t, %v", v.Sensitive, err)
	}
}

func TestParamsOfAChildHideWhatIsSensitive(t *testing.T) {
	_, e := bodiesFolder(t)
	child, _, err := e.Child(workflow.ChildBody{Source: "child", Workflow: "child"})
	if err != nil {
		t.Fatal(err)
	}
	secret := func(v string) workflow.Value { return workflow.Value{JSON: json.RawMessage(v), Sensitive: true} }
	for name, given := range map[string]map[string]workflow.Value{
		"a wrong type": {"rows": secret(`"hunter2"`), "name": secret(`"x"`), "token": secret(`"x"`)},
		"an object":    {"rows": secret("1"), "name": secret(`{"hunter2":["hunter2"]}`), "token": secret(`"x"`)},
		"null":         {"rows": secret("1"), "name": {}, "token": secret(`"hunter2"`)},
		"unknown":      {"rows": secret("1"), "name": secret(`"x"`), "token": secret(`"x"`), "tokn": secret(`"hunter2"`)},
	} {
		_, diags := Params(child, GivenByParent(given), workflow.RunValues{})
		if !diags.HasErrors() || strings.Contains(diags.String(), "hunter2") {
			t.Errorf("%s: got %s", name, diags)
		}
	}
}

func TestChildThatIsNotThere(t *testing.T) {
	_, e := bodiesFolder(t)
	for want, body := range map[string]workflow.ChildBody{
		"holds no workflow at nowhere":    {Source: "nowhere"},
		"declare no workflow nobody":      {Workflow: "nobody"},
		"declare several workflows":       {Source: "child"},
		"holds no workflow at child/none": {Source: "child/none"},
	} {
		if def, _, err := e.Child(body); err == nil || def != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", body, err, want)
		}
	}
}

func TestVersionOfAChildIsTheBeginningOfItsHash(t *testing.T) {
	const child = `
workflow "child" {
  task "a" {}
}`
	files := func(version string) []workflow.File {
		return []workflow.File{{Path: "a.hcl", Bytes: []byte(`
workflow "main" {
  task "a" {
    run_workflow {
      source  = "child.hcl"
      version = "` + version + `"
    }
  }
}`)}, {Path: "child.hcl", Bytes: []byte(child), Named: true}}
	}
	_, diags := Compile(files("sha256:00000000"), "")
	_, actual, found := strings.Cut(diags.String(), "has the version ")
	if !found || len(diags) != 1 {
		t.Fatalf("a wrong version: %s", diags)
	}
	def, e, diags := CompileAndOpen(files(actual[:len("sha256:")+8]), "")
	if len(diags) > 0 {
		t.Fatalf("the right version: %s", diags)
	}
	kid, _, err := e.Child(childOf(t, def, e, "a", workflow.Scope{}))
	if err != nil || !strings.HasPrefix(actual, kid.Hash) {
		t.Errorf("the child has the hash %s, validate said %s (%v)", kid.Hash, actual, err)
	}
	// On its own, the same file is the same workflow.
	alone, _ := Compile([]workflow.File{{Path: "child.hcl", Bytes: []byte(child)}}, "")
	if alone.Hash != kid.Hash {
		t.Errorf("alone it has the hash %s, as a child %s", alone.Hash, kid.Hash)
	}
}

func TestHashCoversNameAndMark(t *testing.T) {
	files := []workflow.File{{Path: "a.hcl", Bytes: []byte("workflow \"one\" {\n  task \"a\" {}\n}\nworkflow \"two\" {\n  task \"a\" {}\n}\n")},
		{Path: "b.txt", Bytes: []byte("x"), Named: true}}
	one, _ := Compile(files, "one")
	two, _ := Compile(files, "two")
	files[1].Named = false
	files[1].Path = "b.hcl"
	files[1].Bytes = nil
	own, _ := Compile(files, "one")
	files[1].Named = true
	named, _ := Compile(files, "one")
	seen := map[string]bool{one.Hash: true, two.Hash: true, own.Hash: true, named.Hash: true}
	if len(seen) != 4 {
		t.Errorf("hashes: %s %s %s %s", one.Hash, two.Hash, own.Hash, named.Hash)
	}
}
