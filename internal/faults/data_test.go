// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// onBoth runs a test on this machine and on a real Nomad.
func onBoth(t *testing.T, test func(t *testing.T, kind string, env ...string)) {
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		test(t, "local")
	})
	t.Run("nomad", func(t *testing.T) {
		t.Parallel()
		test(t, "nomad", "NOMAD_ADDR="+cluster.Nomad(t).Address())
	})
}

// An output of 10 MB is refused, with the number that is allowed.
func TestAnOutputThatIsTooLargeIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		bytes  int
		wanted []string
	}{
		{"more than a file may have", 10_000_000, []string{"the output file has more than 262144 bytes", "artifact"}},
		{"more than one output may have", 100_000, []string{"output blob: it has 100002 bytes, at most 65536", "artifact"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, kind string, env ...string) {
				g := newGround(t, env...)
				p := g.newPlan("large")
				p.task(spec{name: "large", work: fmt.Sprintf("-bytes %d", test.bytes), ends: "failed", other: "output \"blob\" {\n  type = string\n}"})
				p.task(spec{name: "after", after: []string{"large"}, ends: "omitted", silent: true})
				p.expect.Status = "failed"
				run := g.call(1, "run", "-"+kind, p.file())
				contains(t, run.stdout(), test.wanted...)
				id := g.runID()
				tried := attempt(t, g.call(0, "runs", "show", "-json", id).document(), "large")
				if tried.Verdict != "failed" || tried.ExitCode == nil || *tried.ExitCode != 0 {
					t.Errorf("got %+v, want failed with exit code 0", tried)
				}
				contains(t, tried.Message, test.wanted...)
			})
		})
	}
}

// Every line of a long log can be read, while the run goes on and afterwards.
func TestALongLogIsReadable(t *testing.T) {
	const lines = 10_000
	onBoth(t, func(t *testing.T, kind string, env ...string) {
		g := newGround(t, env...)
		gate := filepath.Join(g.dir, "gate")
		p := g.newPlan("talkative")
		p.task(spec{name: "talk", work: fmt.Sprintf("-lines %d -for 100ms", lines)})
		p.task(spec{name: "wait", work: "-until " + gate, after: []string{"talk"}})
		run := g.start("run", "-"+kind, "-json", p.file())
		id := g.begun("wait").Run
		check := func(when string) {
			t.Helper()
			got := strings.Split(strings.TrimSuffix(g.call(0, "runs", "logs", id, "talk").stdout(), "\n"), "\n")
			if len(got) != lines {
				t.Fatalf("%s: got %d lines, want %d", when, len(got), lines)
			}
			for n, line := range got {
				if want := fmt.Sprintf("line %05d of %05d: ", n+1, lines); !strings.HasPrefix(line, want) {
					t.Fatalf("%s: line %d is %q, want it to begin with %q", when, n+1, line, want)
				}
			}
		}
		check("while the run goes on")
		tail := strings.Split(strings.TrimSpace(g.call(0, "runs", "logs", "-tail", "3", id, "talk").stdout()), "\n")
		if len(tail) != 3 || !strings.HasPrefix(tail[2], "line 10000") {
			t.Errorf("the last three lines are %q", tail)
		}
		g.write("gate", "")
		run.wants(0)
		check("after the run")
		g.judge(run.document(), p.expect)
		g.nothingLeft()
	})
}
