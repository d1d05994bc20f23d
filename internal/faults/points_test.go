// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// hitsPerRun is how often one run dies at a point before it may end.
const hitsPerRun = 5

// eventful is a short workflow that visits every fault point: starts, verdicts, retries, kills of what takes too long, and
// runs that it starts.
func (g *ground) eventful() *plan {
	p := g.newPlan("eventful")
	p.task(spec{name: "first", work: "-for 50ms -output n=3", other: numbered})
	p.task(spec{name: "fan", work: "-for ${each.value * task.first.output.n}0ms", other: "for_each = { a = 1, b = 2, c = 3 }", after: []string{"first"}})
	p.task(spec{name: "again", work: "-for 50ms -fail-first 2", after: []string{"first"}, other: retries, tries: 3})
	p.task(spec{name: "late", work: "-for 1h", ends: "failed", tries: 2,
		other: "timeout = \"300ms\"\nretry {\n  max_attempts = 2\n  delay = \"100ms\"\n}"})
	p.task(spec{name: "catch", work: "-for 50ms", after: []string{"late"}, other: "trigger_rule = \"one_failed\"\nrecovers = true"})
	p.task(spec{name: "last", work: "-for " + given + "ms", after: append([]string{"fan", "again", "catch"}, p.workerless("first", 30, g.child())...)})
	p.task(spec{name: "bye", kind: "finally", work: "-for 50ms"})
	p.expect.After["bye"] = []string{"last"}
	return p
}

// faulty is one life of a run that dies at a point.
func (g *ground) faulty(kind, point string, nth int, args ...string) *process {
	g.t.Helper()
	program := programs.program(g.t, "/internal/faults/faulty")
	return g.launch(exec.Command(program, append([]string{"-kind", kind, "-cairn", g.cairn, "-point", point, "-nth", fmt.Sprint(nth)}, args...)...))
}

// visits counts how often an undisturbed run comes to every point.
func visits(t *testing.T, kind string, env []string) map[string]int {
	t.Helper()
	g := newGround(t, env...)
	p := g.eventful()
	life := g.faulty(kind, "", 0, p.file()).wants(0)
	g.judge(life.document(), p.expect)
	lines := strings.Split(strings.TrimSpace(life.stderr()), "\n")
	seen := map[string]int{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &seen); err != nil {
		t.Fatalf("%v\n%s", err, life.stderr())
	}
	for _, point := range scheduler.FaultPoints() {
		if seen[point] == 0 {
			t.Errorf("the workflow never comes to the point %q", point)
		}
	}
	t.Logf("visits of an undisturbed run: %v", seen)
	return seen
}

// dieAt plays one run that dies at a point up to so many times, and returns how often it did.
func (g *ground) dieAt(r *rand.Rand, kind, point string, visits, most int) (hits int) {
	g.t.Helper()
	p := g.eventful()
	p.expect.Severed = true
	file, id := p.file(), ""
	var report []string
	for left := visits; hits < most && left > 0; {
		nth := 1 + r.IntN(left)
		args := []string{file}
		if id = g.runID(); id != "" {
			args = []string{"-resume", id}
		} else if lines := g.lines(); len(lines) > 0 {
			g.t.Fatalf("there is no run, and a task has begun: %+v", lines[0])
		}
		life := g.faulty(kind, point, nth, args...)
		if life.code() >= 0 {
			life.wants(0) // the run ended before
			report = append(report, fmt.Sprintf("visit %d did not come", nth))
			break
		}
		hits++
		left -= nth
		report = append(report, fmt.Sprintf("died at visit %d", nth))
	}
	args := []string{"run", "-" + kind, "-json", file}
	if id = g.runID(); id != "" {
		args = []string{"run", "-" + kind, "-json", "-resume", id}
	}
	run := g.call(0, args...).document()
	g.t.Logf("%s at %q: %s", run.ID, point, strings.Join(report, ", "))
	g.judge(run, p.expect)
	g.nothingLeft()
	return hits
}

func dieAtEveryPoint(t *testing.T, kind string, env ...string) {
	seen := visits(t, kind, env)
	for _, point := range scheduler.FaultPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			want, hits := rounds(t), 0
			for round := 1; hits < want; round++ {
				r := chance(t, round)
				n := newGround(t, env...).dieAt(r, kind, point, seen[point], min(hitsPerRun, want-hits))
				if hits += n; n == 0 && round > 2*want {
					t.Fatalf("the point was hit only %d times in %d runs", hits, round)
				}
			}
			t.Logf("%d hits", hits)
		})
	}
}

func TestALocalRunSurvivesDeathBetweenSaveAndAct(t *testing.T) {
	t.Parallel()
	dieAtEveryPoint(t, "local")
}

func TestANomadRunSurvivesDeathBetweenSaveAndAct(t *testing.T) {
	t.Parallel()
	dieAtEveryPoint(t, "nomad", "NOMAD_ADDR="+cluster.Nomad(t).Address())
}
