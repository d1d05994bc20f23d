// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// cluster is shared by the tests that need a real Nomad.
var cluster testcluster.Shared

func TestRealNomadTakesWhatRenderPrints(t *testing.T) {
	n := cluster.Nomad(t)
	c := newConsole(t)
	r := c.run("render", "-workflow", "kinds", "testdata/kinds")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	taken := 0
	for dec := json.NewDecoder(strings.NewReader(r.stdout)); dec.More(); {
		var doc map[string]json.RawMessage
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if doc["Job"] == nil {
			continue // a dispatch
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(testcluster.NomadBinary(t), "job", "run", "-json", "-detach", "-")
		cmd.Env = append(os.Environ(), "NOMAD_ADDR="+n.Address())
		cmd.Stdin = strings.NewReader(string(text))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nomad job run: %v\n%s\n%s", err, out, text)
		}
		taken++
	}
	if taken != 9 { // two of extract, one of each other task for workers but the dispatch
		t.Errorf("%d jobs, want 9", taken)
	}
}

func TestRealNomadSaysWhereAPlanWouldBePlaced(t *testing.T) {
	c := newConsole(t)
	c.env["NOMAD_ADDR"] = cluster.Nomad(t).Address()
	r := c.run("plan", "testdata/placement.hcl")
	text := strings.ReplaceAll(narrow(r.all(t)), c.env["NOMAD_ADDR"], "NOMAD")
	golden(t, "plan-nomad.txt", text)
	c.env["NOMAD_ADDR"] = "http://127.0.0.1:1"
	for code, args := range map[int][]string{0: {"plan"}, 4: {"plan", "-nomad"}} {
		r := c.run(append(args, "testdata/placement.hcl")...)
		if r.code != code || !strings.Contains(r.stdout, "huge") || !strings.Contains(r.stderr, "Nomad at http://127.0.0.1:1 does not say") {
			t.Errorf("%v: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}
