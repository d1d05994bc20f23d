// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
)

// evaluation is what is read of one: why Nomad has not placed a job.
type evaluation struct {
	ID                string
	JobID             string
	TriggeredBy       string
	Status            string
	StatusDescription string
	FailedTGAllocs    map[string]*nomadapi.AllocationMetric
	ModifyIndex       uint64
}

// evaluated takes what an evaluation says. The caller holds mu.
func (e *Executor) evaluated(a *attempt, ev *evaluation) {
	if ev.TriggeredBy == "job-deregister" && a.stopEval == "" && a.job != jobStopped && a.outcome == nil {
		// Somebody else stops it. Where nothing was placed no other event will say so.
		a.job = jobStopped
		e.advance(a)
		return
	}
	if a.whole && a.outcome == nil { // the last one that ends may leave the job over
		a.stirs()
		e.advance(a)
	}
	if !a.waits() || a.outcome != nil || a.cause != nil {
		return
	}
	why, impossible := held(ev)
	if why != "" && why != a.held {
		a.held = why
		e.tell(a, engine.Event{
			Kind: engine.Held, Attempt: a.id, Message: why, Impossible: impossible,
			Place: engine.Place{JobID: a.jobID},
		})
	}
}

// waits reports whether the job, or a group of it, waits for a place. The caller holds mu.
func (a *attempt) waits() bool {
	if a.whole {
		return !a.toldStart
	}
	return len(a.allocs) == 0
}

// askWhyHeld reads the evaluations of a job that is not placed, for what the event stream has not told.
func (e *Executor) askWhyHeld(ctx context.Context, a *attempt) error {
	var evals []*evaluation
	err := e.read(ctx, &e.client.count.evaluations, a.realm, "/v1/job/"+a.jobID+"/evaluations", url.Values{}, &evals)
	if err != nil {
		return err
	}
	slices.SortFunc(evals, func(x, y *evaluation) int { return cmp.Compare(x.ModifyIndex, y.ModifyIndex) })
	e.mu.Lock()
	defer e.mu.Unlock()
	a.whyHeld = false
	for _, ev := range evals {
		e.evaluated(a, ev)
	}
	return nil
}

// held says why an evaluation has not placed its job; empty when it has. impossible: no node could ever run it, as far as
// Nomad can tell now.
func held(ev *evaluation) (why string, impossible bool) {
	if ev.Status == "failed" {
		return "Nomad's evaluation failed and is tried again within minutes: " + ev.StatusDescription, false
	}
	if len(ev.FailedTGAllocs) == 0 {
		return "", false
	}
	groups := slices.Sorted(maps.Keys(ev.FailedTGAllocs))
	var parts []string
	for _, group := range groups {
		m := ev.FailedTGAllocs[group]
		text := placement(m)
		if len(groups) > 1 {
			text = fmt.Sprintf("group %q: %s", group, text)
		}
		parts = append(parts, text)
		impossible = impossible || hopeless(m) // without that group the job never ends
	}
	return strings.Join(parts, "; "), impossible
}

// hopeless reports that every node is out of question, not merely full. No node at all in the pool and datacenters asked for
// counts too.
func hopeless(m *nomadapi.AllocationMetric) bool {
	return m.NodesExhausted == 0 && len(m.QuotaExhausted) == 0 && m.NodesFiltered >= m.NodesEvaluated
}

// placement is one sentence about a failed placement: which constraint, which resource, on how many nodes.
func placement(m *nomadapi.AllocationMetric) string {
	if m.NodesEvaluated == 0 {
		var dcs []string
		for _, dc := range slices.Sorted(maps.Keys(m.NodesAvailable)) {
			dcs = append(dcs, fmt.Sprintf("%s: %d", dc, m.NodesAvailable[dc]))
		}
		where := "in the datacenters asked for"
		if m.NodePool != "" && m.NodesInPool == 0 {
			where = "in node pool " + m.NodePool
		}
		if len(dcs) > 0 {
			where += " (" + strings.Join(dcs, ", ") + ")"
		}
		return "there is no node to run it " + where
	}
	var parts []string
	for _, c := range byCount(m.ConstraintFiltered) {
		parts = append(parts, fmt.Sprintf("constraint %q rules out %s", c, nodes(m.ConstraintFiltered[c])))
	}
	if rest := m.NodesFiltered - sum(m.ConstraintFiltered); rest > 0 {
		for _, class := range byCount(m.ClassFiltered) {
			parts = append(parts, fmt.Sprintf("node class %q rules out %s", class, nodes(m.ClassFiltered[class])))
			rest -= m.ClassFiltered[class]
		}
		if rest > 0 && len(m.ConstraintFiltered) == 0 {
			parts = append(parts, fmt.Sprintf("%s ruled out", nodes(rest)))
		}
	}
	for _, d := range byCount(m.DimensionExhausted) {
		parts = append(parts, fmt.Sprintf("%s exhausted on %s", d, nodes(m.DimensionExhausted[d])))
	}
	if rest := m.NodesExhausted - sum(m.DimensionExhausted); rest > 0 {
		for _, class := range byCount(m.ClassExhausted) {
			parts = append(parts, fmt.Sprintf("node class %q exhausted on %s", class, nodes(m.ClassExhausted[class])))
		}
	}
	for _, q := range m.QuotaExhausted {
		parts = append(parts, fmt.Sprintf("quota limit %q reached", q))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("none of %s can run it", nodes(m.NodesEvaluated))
	}
	return fmt.Sprintf("none of %s can run it: %s", nodes(m.NodesEvaluated), strings.Join(parts, "; "))
}

// byCount sorts what stands in the way, the most frequent first.
func byCount(counts map[string]int) []string {
	names := slices.Collect(maps.Keys(counts))
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
	return names
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
