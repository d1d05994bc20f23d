// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// A machine is gone, and Nomad does not know it yet. What may run twice goes on elsewhere because Consul says so; what may not
// waits, until somebody says that the machine is off. When Consul then loses all the others at once, nothing more moves.
func TestAWorkerIsLostByConsulsWord(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, testcluster.NomadConfig{HeartbeatGrace: time.Hour})
	gone := w.machine(0)
	run := w.submit("night", w.task("twice", gone, `mode = "immediate"`, ""), w.task("once", gone, `mode = "wait_for_stop"`, ""))
	before := map[string]pulse{"twice": w.alive("twice", 1), "once": w.alive("once", 1)}
	for task, p := range before {
		if p.node != gone.name {
			t.Fatalf("task %s runs on %s, want %s", task, p.node, gone.name)
		}
	}
	w.powerOff(gone)

	next := w.alive("twice", 2)
	if next.node == gone.name || next.fence <= before["twice"].fence {
		t.Errorf("the next attempt runs on %s with fence %d, the first one ran on %s with %d", next.node, next.fence, gone.name, before["twice"].fence)
	}
	list, withheld := w.workers()
	if lost := list[gone.name]; lost.Status != "suspect" || withheld != "" {
		t.Errorf("the worker is %s (%s), withheld: %q", lost.Status, lost.Reason, withheld)
	}
	tried := w.tried(run, "twice")[0]
	if tried.Verdict != "lost" || !strings.Contains(tried.Message, "Consul has lost the machine") {
		t.Errorf("the first attempt is %s: %s", tried.Verdict, tried.Message)
	}
	if n := len(w.lives()["once"]); n != 1 {
		t.Fatalf("the task that must not overlap has %d attempts", n)
	}

	// A living worker is no dead one.
	contains(t, w.g.call(1, "operator", "worker-dead", "-auto-approve", next.node).stderr(), "is not dead", "drain")
	contains(t, w.g.call(0, "operator", "worker-dead", "-auto-approve", "-reason", "it burns", gone.name).stdout(), "is taken for dead", "once")
	if p := w.alive("once", 2); p.node == gone.name || p.fence <= before["once"].fence {
		t.Errorf("the next attempt of the other task runs on %s with fence %d", p.node, p.fence)
	}
	tried = w.tried(run, "once")[0]
	if tried.Verdict != "lost" || !strings.Contains(tried.Message, "it burns") {
		t.Errorf("the first attempt of the other task is %s: %s", tried.Verdict, tried.Message)
	}

	for n := 1; n < machines; n++ {
		if err := w.machine(n).consul.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	w.g.await("Consul to have lost all machines", soon(), func() bool {
		_, withheld = w.workers()
		return withheld != ""
	})
	contains(t, w.g.call(0, "operator", "workers").stderr(), "of the 3 workers that it knows at once")
	w.g.await("a server to say so", soon(), func() bool {
		said := false
		for _, m := range w.all {
			said = said || strings.Contains(m.stderr(), "nothing is done on Consul's word")
		}
		return said
	})
	pause(t, 5*time.Second) // longer than two looks take
	for task, l := range w.lives() {
		if len(l) != 2 {
			t.Errorf("task %s was moved because Consul has lost everything: %d attempts", task, len(l))
		}
	}
	w.g.call(0, "runs", "stop", run)
}
