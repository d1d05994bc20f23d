// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

func TestADefinitionNamesTheNamespacesOfItsFiles(t *testing.T) {
	const body = "    driver = \"raw_exec\"\n    config {\n      command = \"/bin/true\"\n    }\n"
	task := func(name, more string) string { return "  task \"" + name + "\" {\n" + more + body + "  }\n" }
	const child = "workflow \"child\" {\n  namespace = \"nursery\"\n  task \"a\" {\n    namespace = \"toys\"\n" + body + "  }\n}\n"
	for name, c := range map[string]struct {
		text, child string
		namespace   string
		want        []string
	}{
		"none is written":             {task("a", ""), "", "default", nil},
		"the workflow's":              {"  namespace = \"team\"\n" + task("a", ""), "", "team", nil},
		"a task's":                    {"  namespace = \"team\"\n" + task("a", "    namespace = \"b\"\n") + task("c", "    namespace = \"a\"\n"), "", "team", []string{"a", "b"}},
		"that of a local":             {"  locals {\n    where = \"lo${\"cal\"}\"\n  }\n" + task("a", "    namespace = local.where\n"), "", "default", []string{"local"}},
		"that of defaults":            {"  defaults {\n    namespace = \"d\"\n  }\n" + task("a", ""), "", "default", []string{"d"}},
		"one that is not known yet":   {"  param \"ns\" {\n    type = string\n  }\n" + task("a", "    namespace = param.ns\n"), "", "default", nil},
		"a region":                    {task("a", "    region = \"eu\"\n"), "", "default", []string{"eu/default"}},
		"a region of the workflow":    {"  region = \"eu\"\n" + task("a", "    namespace = \"b\"\n"), "", "default", []string{"eu/b"}},
		"a dispatch":                  {"  task \"a\" {\n    namespace = \"d\"\n    dispatch {\n      job = \"x\"\n    }\n  }\n", "", "default", []string{"d"}},
		"a group":                     {"  task \"a\" {\n    namespace = \"g\"\n    group {\n      task \"b\" {\n" + body + "      }\n    }\n  }\n", "", "default", []string{"g"}},
		"a job file":                  {"  task \"a\" {\n    job {\n      source = \"job.nomad.hcl\"\n    }\n  }\n", "", "default", []string{"filed"}},
		"a job file over the task's":  {"  task \"a\" {\n    namespace = \"mine\"\n    region = \"eu\"\n    job {\n      source = \"job.nomad.hcl\"\n    }\n  }\n", "", "default", []string{"eu/filed"}},
		"a child workflow's":          {"  task \"a\" {\n    run_workflow {\n      name = \"child\"\n    }\n  }\n", child, "default", []string{"nursery", "toys"}},
		"one that runs itself":        {task("a", "    namespace = \"b\"\n") + "  task \"c\" {\n    depends_on = [task.a]\n    run_workflow {\n      name = \"w\"\n    }\n  }\n", "", "default", []string{"b"}},
		"an approval, which has none": {"  namespace = \"team\"\n  task \"a\" {\n    approval {}\n  }\n", "", "team", nil},
	} {
		files := []workflow.File{
			{Path: "a.hcl", Bytes: []byte("workflow \"w\" {\n" + c.text + "}\n" + c.child)},
			{Path: "job.nomad.hcl", Named: true, Bytes: []byte("job \"j\" {\n  namespace = \"filed\"\n  type = \"batch\"\n  group \"g\" {\n    task \"t\" {\n" + body + "    }\n  }\n}\n")},
		}
		def, diags := Compile(files, "w")
		if diags.HasErrors() {
			t.Errorf("%s: %v", name, diags)
			continue
		}
		if diff := cmp.Diff(c.want, def.Namespaces); diff != "" || def.Namespace != c.namespace {
			t.Errorf("%s: namespace %s, want %s, and others (-want +got):\n%s", name, def.Namespace, c.namespace, diff)
		}
	}
}
