// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMergePutsDefaultsBeneathABody(t *testing.T) {
	for name, c := range map[string]struct{ defaults, own, want string }{
		"arguments and blocks of the body win, one by one": {
			defaults: "driver = \"exec\"\nuser = \"nobody\"\nresources {\n cpu = 100\n memory = 64\n}",
			own:      "driver = \"raw_exec\"\nresources {\n memory = 128\n}",
			want:     "driver = \"raw_exec\"\nuser = \"nobody\"\nresources {\n cpu = 100\n memory = 128\n}",
		},
		"env merges by key, as a block": {
			defaults: "env {\n A = \"1\"\n B = \"2\"\n}",
			own:      "env {\n B = \"3\"\n}",
			want:     "env {\n A = \"1\"\n B = \"3\"\n}",
		},
		"env merges by key, as an argument over a block": {
			defaults: "env {\n A = \"1\"\n B = \"2\"\n}",
			own:      "env = { B = \"3\" }",
			want:     "env {\n A = \"1\"\n B = \"3\"\n}",
		},
		"env merges by key, as a block over an argument": {
			defaults: "env = { A = \"1\", B = \"2\" }",
			own:      "env {\n B = \"3\"\n}",
			want:     "env {\n A = \"1\"\n B = \"3\"\n}",
		},
		"constraints add up, those of defaults first": {
			defaults: "constraint {\n attribute = \"a\"\n value = \"1\"\n}",
			own:      "constraint {\n attribute = \"b\"\n value = \"2\"\n}",
			want:     "constraint {\n attribute = \"a\"\n value = \"1\"\n}\nconstraint {\n attribute = \"b\"\n value = \"2\"\n}",
		},
		"a group has one network": {
			defaults: "network {\n mode = \"bridge\"\n}",
			own:      "network {\n port \"http\" {}\n}",
			want:     "network {\n mode = \"bridge\"\n port \"http\" {}\n}",
		},
		"names that either env declares are references": {
			defaults: "env = { A = \"1\" }",
			own:      "env {\n B = \"2\"\n}\nconfig {\n args = [\"${A} ${B}\"]\n}",
			want:     "env {\n A = \"1\"\n B = \"2\"\n}\nconfig {\n args = [\"${A} ${B}\"]\n}",
		},
		"volumes of one label merge": {
			defaults: "volume \"d\" {\n type = \"host\"\n source = \"x\"\n}",
			own:      "volume \"d\" {\n source = \"y\"\n}",
			want:     "volume \"d\" {\n type = \"host\"\n source = \"y\"\n}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			defaults, _ := parseBody(t, c.defaults)
			own, opts := parseBody(t, c.own)
			body, diags := CompileTask(Merge(defaults, own), opts)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			got, diags := body.DecodeTask(evalContext(nil))
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			want := decodeTask(t, c.want, nil)
			if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
				t.Errorf("merged body, -want +got:\n%s", diff)
			}
		})
	}
}
