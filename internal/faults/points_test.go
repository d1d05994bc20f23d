// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
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

// dieAt plays one run that dies at one point after the other, as far as it comes to them, and returns those it died at.
func (g *ground) dieAt(r *rand.Rand, kind string, points []string, seen map[string]int) (hit []string) {
	g.t.Helper()
	p := g.eventful()
	p.expect.Severed = true
	file, id := p.file(), ""
	var report []string
	for _, point := range points {
		nth := 1 + r.IntN(max(seen[point]/len(points), 1)) // every life has its share of the run
		args := []string{file}
		if id = g.runID(); id != "" {
			args = []string{"-resume", id}
		} else if lines := g.lines(); len(lines) > 0 {
			g.t.Fatalf("there is no run, and a task has begun: %+v", lines[0])
		}
		life := g.faulty(kind, point, nth, args...)
		if life.code() >= 0 {
			life.wants(0) // the run ended before
			report = append(report, fmt.Sprintf("visit %d %q did not come", nth, point))
			break
		}
		hit = append(hit, point)
		report = append(report, fmt.Sprintf("died at visit %d %q", nth, point))
	}
	args := []string{"run", "-" + kind, "-json", file}
	if id = g.runID(); id != "" {
		args = []string{"run", "-" + kind, "-json", "-resume", id}
	}
	run := g.call(0, args...).document()
	g.t.Logf("%s: %s", run.ID, strings.Join(report, ", "))
	g.judge(run, p.expect)
	g.nothingLeft()
	return hit
}

// rare is below how many visits a run may be past a point before anything else has happened.
const rare = 10

// due chooses the points that the next run dies at: those that were hit least. The rare ones come first, while the run
// still comes to them.
func due(r *rand.Rand, hits, seen map[string]int, want int) []string {
	points := slices.DeleteFunc(scheduler.FaultPoints(), func(point string) bool { return hits[point] >= want })
	r.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
	slices.SortStableFunc(points, func(a, b string) int { return hits[a] - hits[b] })
	points = points[:min(hitsPerRun, len(points))]
	slices.SortStableFunc(points, func(a, b string) int {
		first := min(seen[a], rare) - min(seen[b], rare)
		if first == 0 && seen[a] < rare {
			return slices.Index(scheduler.FaultPoints(), a) - slices.Index(scheduler.FaultPoints(), b)
		}
		return first
	})
	return points
}

func dieAtEveryPoint(t *testing.T, kind string, env ...string) {
	seen, hits, want := visits(t, kind, env), map[string]int{}, rounds(t)
	for round, barren := 1, 0; ; round++ {
		r := chance(t, round)
		points := due(r, hits, seen, want)
		if len(points) == 0 {
			break
		}
		if !t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) {
			hit := newGround(t, env...).dieAt(r, kind, points, seen)
			for _, point := range hit {
				hits[point]++
			}
			if len(hit) == 0 {
				barren++
			}
			if barren > 2*want {
				t.Fatalf("%d runs did not die, and these points are left: %v", barren, points)
			}
		}) {
			break
		}
	}
	t.Logf("hits: %v", hits)
}

func TestALocalRunSurvivesDeathBetweenSaveAndAct(t *testing.T) {
	t.Parallel()
	dieAtEveryPoint(t, "local")
}

func TestANomadRunSurvivesDeathBetweenSaveAndAct(t *testing.T) {
	t.Parallel()
	dieAtEveryPoint(t, "nomad", "NOMAD_ADDR="+cluster.Nomad(t).Address())
}
