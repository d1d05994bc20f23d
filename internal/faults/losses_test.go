// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workers"
)

// A machine is gone, and Nomad does not know it yet. What may run twice goes on elsewhere because Consul says so; what may not
// waits, until somebody says that the machine is off. When Consul then loses all the others at once, nothing more moves.
func TestAWorkerIsLostByConsulsWord(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, testcluster.NomadConfig{HeartbeatGrace: time.Hour})
	gone := w.machine(0)
	run := w.submit("night", w.task("twice", gone, `mode = "immediate"`), w.task("once", gone, `mode = "wait_for_stop"`))
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

// cut is a way to lose workers.
type cut struct {
	name    string
	network bool // it takes a network of the test's own
	// begin does it to the first machine, or to several; undo makes it undone.
	begin, undo func(*workshop)
	leads       consequence
}

// consequence is what comes of a cut.
type consequence string

const (
	moves consequence = "both tasks go on elsewhere"
	stays consequence = "nothing moves, and the worker is suspect"
	may   consequence = "tasks may move"
)

// stopAfter is how long the tasks of a cut may live without their servers; the wait for their end is longer by kill_timeout and
// the margin, sixteen seconds.
const stopAfter = 5 * time.Second

func cuts() []cut {
	fromNomad := func(w *workshop, m machine) {
		for _, server := range w.nomad.Servers {
			for _, match := range ports(w.t, server) {
				if strings.Contains(match, " dport ") {
					w.wall.drop(fmt.Sprintf("meta skgid %d %s", m.nomad.Group, match))
				}
			}
		}
	}
	fromConsul := func(w *workshop, m machine) {
		_, api, err := net.SplitHostPort(strings.TrimPrefix(m.consul.Address, "http://"))
		if err != nil {
			w.t.Fatal(err)
		}
		w.wall.drop(fmt.Sprintf("meta skgid %d meta l4proto udp", m.consul.Group))
		w.wall.drop(fmt.Sprintf("meta skgid %d tcp sport != %s", m.consul.Group, api))
	}
	join := func(w *workshop) { w.wall.clear() }
	return []cut{
		{"gone", false, func(w *workshop) { w.powerOff(w.machine(0)) }, func(w *workshop) { w.powerOn(w.machine(0)) }, moves},
		{"frozen", false, func(w *workshop) { w.freeze(w.machine(0), syscall.SIGSTOP) }, func(w *workshop) { w.freeze(w.machine(0), syscall.SIGCONT) }, moves},
		{"cut off from Nomad", true, func(w *workshop) { fromNomad(w, w.machine(0)) }, join, moves},
		{"cut off from Nomad every few seconds", true, func(w *workshop) {
			for range 4 {
				fromNomad(w, w.machine(0))
				pause(w.t, 4*time.Second)
				join(w)
				pause(w.t, 3*time.Second)
			}
			pause(w.t, stopAfter+20*time.Second) // longer than a wait that began
		}, join, may},
		{"cut off from Consul", true, func(w *workshop) { fromConsul(w, w.machine(0)) }, join, stays},
		{"cut off from both", true, func(w *workshop) {
			fromNomad(w, w.machine(0))
			fromConsul(w, w.machine(0))
		}, join, moves},
		{"two of three cut off from Consul", true, func(w *workshop) {
			fromConsul(w, w.machine(0))
			fromConsul(w, w.machine(1))
		}, join, stays},
	}
}

// A worker is lost in many ways. Of a task that must not overlap itself, no attempt begins before the one before it has ended, by
// what they write themselves; and nothing moves because Consul alone has lost a worker whose client answers, or most of them.
func TestWorkersAreLostInManyWays(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, testcluster.NomadConfig{MinHeartbeatTTL: time.Second, HeartbeatGrace: 2 * time.Second})
	for n, c := range cuts() {
		if c.network && !shaped() {
			t.Logf("not played, for want of a network of its own: the worker is %s", c.name)
			continue
		}
		t.Logf("the worker is %s", c.name)
		m := w.machine(0)
		once, twice := fmt.Sprintf("once%d", n), fmt.Sprintf("twice%d", n)
		run := w.submit(fmt.Sprintf("cut%d", n),
			w.task(once, m, fmt.Sprintf("mode = \"wait_for_stop\"\nstop_after = %q", stopAfter)), w.task(twice, m, `mode = "immediate"`))
		for _, task := range []string{once, twice} {
			if p := w.alive(task, 1); p.node != m.name {
				t.Fatalf("%s: task %s runs on %s, want %s", c.name, task, p.node, m.name)
			}
		}
		at := time.Now()
		c.begin(w)
		switch c.leads {
		case moves:
			second, first := w.alive(twice, 2), w.lives()[twice][0]
			t.Logf("  immediate: %s after that, %s after the last sign of life", brief(second.at.Sub(at)), brief(second.at.Sub(first.last.at)))
			w.alive(once, 2)
		case stays:
			w.g.await("Consul to have lost it", soon(), func() bool { list, _ := w.workers(); return list[m.name].Status == "suspect" })
			pause(t, workers.Apart+workers.AskAgain+5*time.Second) // longer than it takes to give a worker up
		}
		lives := w.lives()
		for _, task := range []string{once, twice} {
			if c.leads == stays && len(lives[task]) != 1 {
				t.Errorf("%s: task %s has moved: %d attempts", c.name, task, len(lives[task]))
			}
			// One may be given up before it has written.
			wrote := slices.DeleteFunc(slices.Clone(lives[task]), func(l life) bool { return l.first.task == "" })
			for i := 1; i < len(wrote); i++ {
				before, after := wrote[i-1], wrote[i].first
				if after.fence <= before.first.fence || c.leads == moves && after.node == before.first.node {
					t.Errorf("%s: attempt %d of %s has fence %d on %s, the one before had %d on %s", c.name, after.attempt, task, after.fence, after.node,
						before.first.fence, before.first.node)
				}
				gap := after.at.Sub(before.last.at)
				if task == once {
					t.Logf("  wait_for_stop: %s after that, %s after the last sign of life", brief(after.at.Sub(at)), brief(gap))
				}
				if task == once && gap <= 0 {
					t.Errorf("%s: attempt %d of %s began %s before the last sign of life of the one before", c.name, after.attempt, task, brief(-gap))
				}
			}
		}
		c.undo(w)
		w.g.call(0, "runs", "stop", run)
		w.g.await("the workers to be back", soon(), func() bool {
			list, _ := w.workers()
			for _, one := range list {
				if one.Status != "ready" {
					return false
				}
			}
			_, metrics := w.leader().get(t, "/metrics") // of those who act on it, and may have looked before the loss
			return strings.Contains(metrics, fmt.Sprintf("cairn_workers{status=\"ready\"} %d\n", machines))
		})
	}
}

// What no wait can close: the agent of a worker is dead, and its task lives. The next attempt overlaps with it; a store that looks
// at CAIRN_FENCE refuses the old one, from the first write of the new one on.
func TestAFenceRefusesWhatLivesOnUnseen(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, testcluster.NomadConfig{MinHeartbeatTTL: time.Second, HeartbeatGrace: 2 * time.Second})
	store, err := os.ReadFile(filepath.Join("..", "..", "examples", "fencing", "store.sh"))
	if err != nil {
		t.Fatal(err)
	}
	w.g.write("store.sh", string(store))
	m := w.machine(0)
	folder := t.TempDir()
	script := fmt.Sprintf(`while :; do /bin/sh %s %s $CAIRN_ATTEMPT && said=stored || said=refused; echo $CAIRN_ATTEMPT $said >> %s; sleep 0.1; done`,
		filepath.Join(w.g.dir, "store.sh"), folder, w.pulses)
	run := w.submit("fenced", w.doing("writer", m, fmt.Sprintf("stop_after = %q", stopAfter), fmt.Sprintf("%q", script)))
	wrote := func(attempt int, what string) func() bool {
		return func() bool { return strings.Contains("\n"+w.said(), fmt.Sprintf("\n%d %s\n", attempt, what)) }
	}
	w.g.await("the first attempt to write", soon(), wrote(1, "stored"))
	if err := m.nomad.Kill(); err != nil { // and its task goes on
		t.Fatal(err)
	}
	w.g.await("the second attempt to write", soon(), wrote(2, "stored"))
	w.g.await("the first attempt to be refused", soon(), wrote(1, "refused"))
	w.g.call(0, "runs", "stop", run)

	data, err := os.ReadFile(filepath.Join(folder, "data"))
	if err != nil {
		t.Fatal(err)
	}
	last, lines := int64(0), map[string]int{}
	for line := range strings.Lines(string(data)) {
		var fence int64
		var attempt string
		if _, err := fmt.Sscan(line, &fence, &attempt); err != nil {
			t.Fatalf("the store holds %q: %v", line, err)
		}
		if fence < last {
			t.Fatalf("attempt %s wrote with fence %d after %d", attempt, fence, last)
		}
		last = fence
		lines[attempt]++
	}
	t.Logf("stored: %d lines of the first attempt, %d of the second; refused: %d of the first", lines["1"], lines["2"], strings.Count(w.said(), "1 refused"))
	if lines["1"] == 0 || lines["2"] == 0 || strings.Contains(w.said(), "2 refused") {
		t.Errorf("stored %v; said:\n%s", lines, w.said())
	}
}
