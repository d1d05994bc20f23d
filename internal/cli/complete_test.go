// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// complete asks the program as a shell does, and returns what it offers.
func (c *console) complete(line string) []string {
	c.t.Helper()
	cmd := c.cairn()
	cmd.Env = append(cmd.Env, "COMP_LINE="+line, fmt.Sprintf("COMP_POINT=%d", len(line)))
	cmd.Args = append(cmd.Args, "cairn", "word", "word before") // bash gives these
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("complete %q: %v", line, err)
	}
	return strings.Fields(string(out))
}

func TestAShellCompletesEverythingThatHasAName(t *testing.T) {
	c := newConsole(t)
	if r := c.run("run", "-local", "testdata/flow.hcl"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	id := c.newestID()
	for _, row := range []struct{ line, want string }{
		{"cairn val", "validate"},
		{"cairn runs ", "approve list logs pause reject rerun resume retry show stop terminate watch"},
		{"cairn task ", "cancel retry skip succeed"},
		{"cairn runs show ", id},
		{"cairn runs show " + id[:3], id},
		{"cairn runs logs " + id + " ", "extract flaky joined load never report rollback"},
		{"cairn runs approve " + id + " ", "extract flaky joined load never report rollback"},
		{"cairn task skip " + id + " re", "report"},
		{"cairn runs rerun " + id + " -from r", "report rollback"},
		{"cairn runs list -status p", "paused pausing"},
		{"cairn run testdata/flow.hcl -param ", "fail= token= who="},
		{"cairn plan testdata/kinds -workflow ", "child kinds"},
		{"cairn render testdata/flow.hcl -task l", "load"},
		{"cairn graph testdata/f", "testdata/flow.hcl"},
		{"cairn run -param-file testdata/params", "testdata/params-bad.hcl"},
		{"cairn task cancel -i", "-instance"},
		// Nothing that is not known at once, and no complaint on the line either.
		{"cairn runs logs zzzzzzzzzzzzzzzzzzzz ", ""},
		{"cairn run testdata/invalid/broken.hcl -param ", ""},
	} {
		got := c.complete(row.line)
		slices.Sort(got)
		if strings.Join(got, " ") != row.want {
			t.Errorf("%q: got %q, want %q", row.line, got, row.want)
		}
	}
	if got := strings.Join(c.complete("cairn "), " "); strings.Contains(got, "supervise") || !strings.Contains(got, "plan") {
		t.Errorf("commands: %q", got)
	}
}
