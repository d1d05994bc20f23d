// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// chain is a workflow of tasks one after the other, each as long as the run is told, that hand a number on.
func (g *ground) chain(tasks int) *plan {
	p := g.newPlan("chain", "ms")
	for i := range tasks {
		s := spec{name: fmt.Sprintf("t%d", i), work: fmt.Sprintf("-for ${param.ms}ms -output n=%d", i), other: numbered}
		if i > 0 {
			before := fmt.Sprintf("t%d", i-1)
			s.after, s.work = []string{before}, fmt.Sprintf("-for ${param.ms}ms -output n=${task.%s.output.n+1}", before)
		}
		p.task(s)
	}
	return p
}

// All of Consul is lost with many runs under way, long after the last snapshot, and that snapshot is restored. The runs that it
// knows go on from where they are by now, and nothing of them runs twice; of those that began since, what runs in Nomad runs to
// its end. CAIRN_FAULTS_ACTIVE is how many runs go on at once (8), CAIRN_FAULTS_TIME how long after the snapshot Consul is lost (20s).
func TestConsulIsLostUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	g := s.g
	lasts, active := duration(t, 20*time.Second), number(t, "CAIRN_FAULTS_ACTIVE", 8)
	p := g.chain(6)
	p.expect.Severed = true
	l := newLoad(s.servers, p)
	l.limit += 2 * lasts // the longest runs take a fifth more than that
	begin := func(n int) {
		ms := (lasts/30 + lasts*time.Duration(n)/time.Duration(6*active)).Milliseconds()
		l.keepBusy(map[string]json.RawMessage{"ms": json.RawMessage(fmt.Sprint(ms))})
	}
	await := func(runs int) {
		g.await(fmt.Sprintf("%d runs to begin", runs), soon(), func() bool { return g.runs() >= runs })
	}
	for n := range active { // tasks take from a thirtieth to a fifth of the time: some runs end before the loss, some after it
		begin(n)
	}
	await(active)
	certain := l.submitted() // before the snapshot
	file, _ := s.save()
	atSnapshot := g.progress()
	known := g.runs()
	begin(active) // one that the snapshot does not know, however slow the machine is
	await(known + 1)
	pause(t, lasts)
	l.leave()
	atLoss := g.progress()

	lost := time.Now()
	wipe(t, s.consul.Agents(), s.consul.Start)
	there := time.Now()
	before := s.said(reconciled)
	g.call(0, "operator", "snapshot", "restore", "-auto-approve", "-prefix", s.prefix(), file)
	restored := time.Now()
	g.await("a server to know what was under way", soon(), func() bool { return s.said(reconciled) > before })
	found := time.Now()
	s.meet()
	g.submit(g.newPlan("new").one())
	g.begun("one")
	t.Logf("Consul was away for %s; restoring took %s; everything was known %s later, and a new task began %s after the restore",
		brief(there.Sub(lost)), brief(restored.Sub(there)), brief(found.Sub(restored)), brief(time.Since(restored)))

	var runs []string
	for _, e := range s.list() {
		if e.Workflow == p.name {
			runs = append(runs, e.ID)
		}
	}
	for _, id := range certain {
		if !slices.Contains(runs, id) {
			t.Errorf("run %s had begun before the snapshot, and is lost", id)
		}
	}
	for _, id := range runs {
		if err := l.await(t.Context(), id); err != nil {
			t.Errorf("run %s: %v", id, err)
		}
	}
	t.Logf("all of them have ended %s after the restore", brief(time.Since(restored)))
	orphans := 0
	g.await("the tasks of runs that nobody knows to end", time.Now().Add(l.limit), func() bool {
		open := 0
		for of, at := range g.progress() {
			if !slices.Contains(runs, of.run) && at == ledger.Begin {
				open++
			}
		}
		return open == 0
	})
	all, _ := l.judge()
	for id, lines := range all.strangers {
		if lines[0].Task == "one" {
			continue
		}
		orphans++
		for i, line := range lines {
			if i%2 == 0 && (line.Event != ledger.Begin || line.Attempt != 1 || line.Task != fmt.Sprintf("t%d", i/2)) {
				t.Errorf("run %s, which nobody knows, has %+v as line %d", id, line, i)
			}
		}
	}
	ended, running, again := 0, 0, 0
	for of, at := range atLoss {
		switch {
		case !slices.Contains(runs, of.run):
		case at == ledger.Begin:
			running++
		case atSnapshot[of] != ledger.End:
			ended++
		}
	}
	for of := range g.progress() {
		if of.attempt > 1 {
			again++
		}
	}
	t.Logf("%d runs were in the snapshot, %d of them under way; %s later %d attempts of theirs had ended since and %d ran; %d ran again. %d runs were orphans. %d attempts in all",
		len(runs), active, brief(lasts), ended, running, again, orphans, all.attempts)
	if ended == 0 || orphans == 0 {
		t.Errorf("nothing happened after the snapshot: %d attempts, %d runs", ended, orphans)
	}
	if again > 0 {
		t.Errorf("%d attempts ran again", again)
	}
}

// reconciled is what a leader logs when it has asked Nomad for everything that was under way.
const reconciled = "everything that was under way is known"

// said counts how often servers have logged something.
func (s *servers) said(text string) (times int) {
	for _, m := range s.all {
		times += strings.Count(m.stderr(), text)
	}
	return times
}

// runs counts those of which something has begun.
func (g *ground) runs() int {
	g.t.Helper()
	runs := map[string]bool{}
	for _, line := range g.lines() {
		runs[line.Run] = true
	}
	return len(runs)
}

// tried names an attempt.
type tried struct {
	run, task string
	attempt   int
}

// progress is the last that the ledger says of each attempt.
func (g *ground) progress() map[tried]ledger.Event {
	g.t.Helper()
	at := map[tried]ledger.Event{}
	for _, line := range g.lines() {
		at[tried{line.Run, line.Task, line.Attempt}] = line.Event
	}
	return at
}
