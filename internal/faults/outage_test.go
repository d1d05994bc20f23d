// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
	"github.com/cairnflow/cairn/internal/testcluster"
)

func TestNomadUnreachableAtTheStart(t *testing.T) {
	g := newGround(t, "NOMAD_ADDR=http://127.0.0.1:1")
	p := g.newPlan("nowhere")
	p.task(spec{name: "never"})
	run := g.call(4, "run", "-nomad", p.file())
	contains(t, run.stderr(), "Error: Nomad at http://127.0.0.1:1 cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused. "+
		"Nothing was started: start that agent, or set NOMAD_ADDR to the address of one that runs.")
	if id := g.runID(); id != "" {
		t.Errorf("there is a run %s, want none", id)
	}
	if lines := g.lines(); len(lines) > 0 {
		t.Errorf("something ran: %+v", lines)
	}
}

// settled waits until Nomad has told that tasks run. A client of Nomad that is killed within some hundred milliseconds of a
// task's start has not yet noted that it started it, and starts it again, in the same allocation, beside the first one
// (seen with 1.11.3): nobody above Nomad can prevent or notice that.
func (p *process) settled(attempts ...string) {
	p.g.t.Helper()
	for _, a := range attempts {
		p.says(a + " running on ")
	}
}

// A Nomad that goes away in the middle of a run, and comes back, costs the run time and nothing else.
func TestNomadIsStoppedMidRunAndStartedAgain(t *testing.T) {
	for name, stop := range map[string]func(*testcluster.NomadCluster) error{
		"stopped": (*testcluster.NomadCluster).Stop,
		"killed":  (*testcluster.NomadCluster).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			nomad := testcluster.Nomad(t, testcluster.NomadConfig{})
			g := newGround(t, "NOMAD_ADDR="+nomad.Address())
			gate := filepath.Join(g.dir, "gate")
			p := g.newPlan("outage")
			p.task(spec{name: "first", work: "-for 200ms"})
			p.task(spec{name: "during", work: "-until " + gate, after: []string{"first"}})
			p.task(spec{name: "fan", work: "-for ${each.value}s", after: []string{"first"}, other: "for_each = { a = 2, b = 3, c = 4 }"})
			p.task(spec{name: "after", work: "-for 200ms -fail-first 1", after: []string{"during", "fan"}, other: retries, tries: 2})
			p.task(spec{name: "bye", kind: "finally", work: "-for 100ms"})
			run := g.start("run", "-nomad", "-json", p.file())
			run.settled("during #1", "fan[a] #1", "fan[b] #1", "fan[c] #1")
			if err := stop(nomad); err != nil {
				t.Fatal(err)
			}
			gone := time.Now()
			run.says("Nomad at " + nomad.Address() + " cannot be reached since ")
			contains(t, run.stderr(), "What runs goes on, and nothing new starts until it answers.")
			t.Logf("said so within %s", brief(time.Since(gone)))
			g.write("gate", "") // it ends while nobody can tell
			g.await("the task to end", soon(), func() bool {
				for _, l := range g.lines() {
					if l.Task == "during" && l.Event == ledger.End {
						return true
					}
				}
				return false
			})
			if err := nomad.Start(); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			g.begun("after")
			t.Logf("the next task began %s after Nomad was back, which was away for %s", brief(time.Since(back)), brief(back.Sub(gone)))
			run.wants(0)
			contains(t, run.stderr(), "The run goes on.")
			g.judge(run.document(), p.expect)
			t.Logf("what the user saw:\n%s", run.stderr())
		})
	}
}

// The run's process dies while Nomad is away, with a task on its worker and another one ready to start.
func TestTheProcessIsKilledWhileNomadIsAway(t *testing.T) {
	nomad := testcluster.Nomad(t, testcluster.NomadConfig{})
	g := newGround(t, "NOMAD_ADDR="+nomad.Address())
	gate, short := filepath.Join(g.dir, "gate"), filepath.Join(g.dir, "short")
	p := g.newPlan("outage")
	p.task(spec{name: "during", work: "-until " + gate + " -output n=5", other: "output \"n\" {\n  type = number\n}"})
	p.task(spec{name: "short", work: "-until " + short})
	p.task(spec{name: "after", work: "-for ${task.during.output.n}0ms", after: []string{"during", "short"}})
	run := g.start("run", "-nomad", "-json", p.file())
	run.settled("during #1", "short #1")
	id := g.begun("during").Run
	if err := nomad.Kill(); err != nil {
		t.Fatal(err)
	}
	run.says("cannot be reached since ")
	g.write("short", "")
	run.signal(syscall.SIGKILL)
	run.code()

	again := g.call(4, "run", "-nomad", "-resume", id)
	contains(t, again.stderr(), "Error: Nomad at "+nomad.Address()+" cannot be reached: ")

	if err := nomad.Start(); err != nil {
		t.Fatal(err)
	}
	run = g.start("run", "-nomad", "-json", "-resume", id)
	g.write("gate", "")
	run.wants(0)
	g.judge(run.document(), p.expect)
}
