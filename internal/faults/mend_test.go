// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// generations is how often a mendable run runs until it is whole.
const generations = 3

// mendable is a workflow that fails twice: by a task, by one instance of a fan-out (once), and by a task two child runs
// below. Everything else succeeds the first time, or waits for what fails.
func (g *ground) mendable() *plan {
	inner := g.newPlan("inner")
	inner.task(spec{name: "solid", work: "-for 50ms"})
	inner.task(spec{name: "flaky", work: "-for 100ms -fail-first 2", after: []string{"solid"}, tries: 3})
	inner.expect.Generation = generations
	middle := g.newPlan("middle")
	middle.task(spec{name: "solid", work: "-for 50ms -output n=8", other: numbered})
	middle.task(spec{name: "deep", runs: inner, after: []string{"solid"}, tries: 3})
	middle.task(spec{name: "last", work: "-for ${task.solid.output.n}0ms", after: []string{"deep"}})
	middle.expect.Generation = generations

	p := g.newPlan("mendable")
	p.expect.Generation = generations
	p.task(spec{name: "solid", work: "-for 50ms -output n=9", other: numbered})
	p.task(spec{name: "flaky", work: "-for 200ms -fail-first 2", after: []string{"solid"}, tries: 3})
	p.task(spec{name: "fan", work: "-for 100ms -fail-first ${each.value}", after: []string{"solid"}, other: "for_each = { a = 0, b = 1 }"})
	p.expect.Tries["fan[a]"], p.expect.Tries["fan[b]"] = 1, 2
	p.task(spec{name: "nest", runs: middle, after: []string{"solid"}, tries: 3})
	p.task(spec{name: "undo", work: "-for 50ms", after: []string{"flaky"}, other: "trigger_rule = \"one_failed\"", ends: "skipped", tries: 2})
	p.task(spec{name: "post", method: "POST", after: []string{"flaky"}, other: always})
	p.task(spec{name: "last", work: "-for ${task.solid.output.n}0ms", after: []string{"fan", "nest", "post"}})
	p.task(spec{name: "bye", kind: "finally", work: "-for 50ms", tries: 3})
	delete(p.expect.After, "undo") // it has begun before the last try of what it waits for
	return p
}

// mending is one run that is retried by hand until it is whole, by processes that are killed.
type mending struct {
	g      *ground
	kind   string
	r      *rand.Rand
	id     string
	landed int
	report []string
}

// live starts the next life of the run: a retry of one that has ended, or the resumption of one whose process was killed.
func (m *mending) live() *process {
	m.g.t.Helper()
	run := m.g.show(m.id)
	args := []string{"runs", "retry", "-json", m.id}
	switch {
	case run.Status == "failed":
	case m.r.IntN(2) == 0:
		args = []string{"run", "-" + m.kind, "-json", "-resume", m.id}
	default:
		args = []string{"runs", "resume", "-json", m.id}
	}
	m.report = append(m.report, fmt.Sprintf("%s in generation %d: %s", run.Status, run.Generation, strings.Join(args[:len(args)-1], " ")))
	return m.g.start(args...)
}

// works waits until something new is in the ledger, and reports whether the process still runs then: the first kill is to land
// however fast the machine is.
func (m *mending) works(p *process, before int) (alive bool) {
	m.g.t.Helper()
	m.g.await("something new in the ledger", soon(), func() bool {
		select {
		case <-p.done:
			return true
		default:
			alive = len(m.g.lines()) > before
			return alive
		}
	})
	return alive
}

// mend goes on until the run has succeeded. Up to so many lives are killed, at moments that are drawn uniformly over a time.
func (m *mending) mend(kills int, over time.Duration) *ledger.Run {
	m.g.t.Helper()
	for range 2 * (kills + generations) {
		before := len(m.g.lines())
		p := m.live()
		at := time.Duration(m.r.Int64N(int64(over)))
		if m.landed == 0 && m.works(p, before) || m.landed > 0 && m.landed < kills && p.runsFor(at) {
			p.signal(syscall.SIGKILL)
			<-p.done
			m.landed++
			m.report = append(m.report, fmt.Sprintf("killed, %s drawn", brief(at)))
			continue
		}
		if code := p.code(); code == 0 {
			return p.document()
		} else if code != 1 {
			m.g.t.Fatalf("%v ended with %d, want 0 or 1\n%s\n%s", p.cmd.Args[1:], code, p.stderr(), strings.Join(m.report, "\n"))
		}
	}
	m.g.t.Fatalf("run %s does not succeed:\n%s", m.id, strings.Join(m.report, "\n"))
	return nil
}

func TestARunIsRetriedByProcessesThatAreKilled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, kind string, env ...string) {
		landed := 0
		for n := range rounds(t) {
			t.Run(fmt.Sprintf("round %d", n+1), func(t *testing.T) {
				g := newGround(t, env...)
				p := g.mendable()
				begin := time.Now()
				g.call(1, "run", "-"+kind, p.file())
				m := &mending{g: g, kind: kind, r: chance(t, n+1), id: g.runID()}
				// A generation that is retried has less to do than the first one.
				run := m.mend(4, time.Since(begin)/2)
				t.Logf("%s\n%s", run.ID, strings.Join(m.report, "\n"))
				p.expect.Severed = m.landed > 0
				g.judge(run, p.expect)
				g.nothingLeft()
				landed += m.landed
			})
		}
		t.Logf("%d rounds, %d kills landed", rounds(t), landed)
		if landed == 0 {
			t.Error("no kill landed")
		}
	})
}
