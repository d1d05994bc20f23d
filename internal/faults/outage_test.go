// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"path/filepath"
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
			p.task(spec{name: "fan", work: "-for ${each.value}00ms", after: []string{"first"}, other: "for_each = { a = 1, b = 5, c = 9 }"})
			p.task(spec{name: "after", work: "-for 200ms -fail-before 2", after: []string{"during", "fan"}, other: retries, tries: 2})
			p.task(spec{name: "bye", kind: "finally", work: "-for 100ms"})
			run := g.start("run", "-nomad", "-json", p.file())
			g.begun("during")
			g.begun("fan")
			if err := stop(nomad); err != nil {
				t.Fatal(err)
			}
			gone := time.Now()
			run.says("Nomad at " + nomad.Address() + " cannot be reached since ")
			contains(t, run.stderr(), "connection refused. What runs goes on, and nothing new starts until it answers.")
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
