// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
)

func TestJudgeWhole(t *testing.T) {
	groups := []shape{{name: "a", count: 1, tasks: []part{{"work", roleMain}}}, {name: "b", count: 2, tasks: []part{{"work", roleMain}}}}
	killedEvents := []string{"Started", "Killing", "Terminated:137/9", "Killed"}
	// in is an allocation of a seat; the later ones are placed later.
	placed := uint64(0)
	in := func(seat string, a *alloc) *alloc {
		placed++
		a.Name, a.TaskGroup, a.CreateIndex = "etl."+seat, seat[:1], placed
		return a
	}
	well := func(seat string) *alloc { return in(seat, deadAlloc(clientComplete, "Started", "Terminated:0")) }
	bad := func(seat string) *alloc {
		return in(seat, deadAlloc(clientFailed, "Started", "Terminated:3", "Not Restarting"))
	}
	runs := func(seat string) *alloc { return in(seat, liveAlloc("l", 0)) }
	killed := func(seat string) *alloc { return in(seat, deadAlloc(clientComplete, killedEvents...)) }
	lost := func(seat string) *alloc {
		return in(seat, with(liveAlloc("l", 0), func(a *alloc) { a.ClientStatus = clientLost }))
	}
	broken := func(seat string) *alloc {
		return in(seat, with(deadAlloc(clientFailed, "Driver Failure"), func(a *alloc) { a.TaskStates["work"].Failed = true }))
	}
	stop := outcome(engine.OutcomeKilled, "stopped")
	all := func(list ...*alloc) []*alloc { return list }
	for name, c := range map[string]struct {
		facts   facts
		want    string
		message string
	}{
		"nothing placed":                  {facts{}, "final?", ""},
		"nothing placed, and over":        {facts{dead: true}, "error", `group "a": it was never placed, and Nomad has given its job up`},
		"a tombstone":                     {facts{job: jobStopped, tombstone: tombKilled}, "killed", "stopped before it started"},
		"stopped before it was placed":    {facts{job: jobStopped}, "stop: interrupted", ""},
		"one group waits":                 {facts{allocs: all(runs("a[0]"))}, "", ""},
		"every group has begun":           {facts{allocs: all(well("a[0]"), runs("b[0]"))}, "running", ""},
		"all ended well":                  {facts{allocs: all(well("a[0]"), well("b[0]"), well("b[1]"))}, "exited 0", ""},
		"one seat was never placed":       {facts{allocs: all(well("a[0]"), well("b[0]"))}, "running final?", ""},
		"one failed, may be placed again": {facts{allocs: all(well("a[0]"), well("b[0]"), bad("b[1]"))}, "running final?", ""},
		"one failed for good": {facts{dead: true, allocs: all(well("a[0]"), well("b[0]"), bad("b[1]"))}, "exited 3",
			`group "b", allocation 2 of 2: task "work" failed (exit code 3)`},
		"one failed, and was placed again":     {facts{allocs: all(bad("a[0]"), well("b[0]"), well("b[1]"), runs("a[0]"))}, "running", ""},
		"one failed, and ended well elsewhere": {facts{allocs: all(bad("a[0]"), well("b[0]"), well("b[1]"), well("a[0]"))}, "exited 0", ""},
		"one failed twice": {facts{dead: true, allocs: all(bad("a[0]"), well("b[0]"), well("b[1]"), bad("a[0]"))}, "exited 3",
			`group "a", placed 2 times: task "work" failed (exit code 3)`},
		"one failed while others run": {facts{allocs: all(bad("a[0]"), well("b[0]"), runs("b[1]"))}, "running", ""},
		"a driver failed":             {facts{dead: true, allocs: all(broken("a[0]"), well("b[0]"), well("b[1]"))}, "error", `group "a": Driver Failure`},
		"a program counts more than a driver": {facts{dead: true, allocs: all(broken("a[0]"), well("b[0]"), bad("b[1]"))}, "exited 3",
			`group "b", allocation 2 of 2: task "work" failed (exit code 3)`},
		"a worker was lost":               {facts{allocs: all(lost("a[0]"), well("b[0]"), well("b[1]"))}, "running final?", ""},
		"a worker was lost, for good":     {facts{dead: true, allocs: all(lost("a[0]"), well("b[0]"), well("b[1]"))}, "lost", `group "a": worker n2 is lost, and the job asks for no replacement`},
		"a worker was lost and came back": {facts{allocs: all(well("a[0]"), well("b[0]"), well("b[1]"), killed("a[0]"))}, "exited 0", ""},
		"drained": {facts{job: jobRuns, dead: true, allocs: all(well("a[0]"), well("b[0]"), killed("b[1]"))}, "evicted",
			`group "b", allocation 2 of 2: killed on n1: Nomad gives no reason`},
		"stopped by somebody else":           {facts{job: jobStopped, allocs: all(runs("a[0]"), well("b[0]"))}, "stop: interrupted", ""},
		"stopped, having failed by itself":   {facts{job: jobStopped, allocs: all(bad("a[0]"), well("b[0]"), well("b[1]"))}, "exited 3", `group "a": task "work" failed (exit code 3)`},
		"stopped, having ended well":         {facts{job: jobStopped, allocs: all(well("a[0]"), well("b[0]"), well("b[1]"))}, "exited 0", ""},
		"killed":                             {facts{killed: true, allocs: all(runs("a[0]"))}, "stop: killed", ""},
		"killed, still dying":                {facts{killed: true, cause: stop, settled: true, allocs: all(runs("a[0]"), killed("b[0]"))}, "running", ""},
		"killed and gone":                    {facts{killed: true, cause: stop, settled: true, allocs: all(killed("a[0]"), killed("b[0]"))}, "killed", "stopped"},
		"killed, having ended well":          {facts{killed: true, allocs: all(well("a[0]"), well("b[0]"), well("b[1]"))}, "exited 0", ""},
		"killed on a worker that is lost":    {facts{killed: true, cause: stop, settled: true, allocs: all(lost("a[0]"), killed("b[0]"))}, "running wait", ""},
		"killed on a worker, and waited for": {facts{killed: true, cause: stop, settled: true, waited: true, allocs: all(lost("a[0]"), killed("b[0]"))}, "killed", "stopped"},
		"scaled up by somebody, one more fails": {facts{dead: true, allocs: all(well("a[0]"), well("b[0]"), well("b[1]"), bad("b[2]"))}, "exited 3",
			`group "b", allocation 3: task "work" failed (exit code 3)`},
		"Nomad's own time limit": {facts{dead: true, allocs: all(with(killed("a[0]"), func(a *alloc) { a.ClientDescription = "allocation exceeded max_run_duration" }), well("b[0]"), well("b[1]"))},
			"timed_out", `group "a": allocation exceeded max_run_duration`},
	} {
		t.Run(name, func(t *testing.T) {
			c.facts.whole, c.facts.groups = true, groups
			j := c.facts.judge()
			got := verdict(j)
			if j.final || j.lossWait {
				got = ""
				if j.running != nil {
					got = "running "
				}
				if got += "wait"; j.final {
					got = got[:len(got)-len("wait")] + "final?"
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("judgement (-want +got):\n%s", diff)
			}
			if j.outcome != nil && j.outcome.Message != c.message {
				t.Errorf("message %q, want %q", j.outcome.Message, c.message)
			}
		})
	}
}

func TestJudgeWholeWithNothingToPlace(t *testing.T) {
	f := facts{whole: true, groups: []shape{{name: "a", count: 0}}}
	if j := f.judge(); !j.final || j.outcome != nil {
		t.Errorf("judgement %+v, want the question whether it is over", j)
	}
	f.dead = true
	if got := verdict(f.judge()); got != "exited 0" {
		t.Errorf("a job that asks for nothing ended as %q", got)
	}
}
