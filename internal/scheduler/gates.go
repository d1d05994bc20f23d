// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// gates bounds how many runs of one workflow go at once (language reference, "concurrency"). A run that has begun holds a
// place until it is over, paused or not; one that has not begun asks for one, and begins, waits or is skipped. What a gate
// knows is derived: a new leader rebuilds it from the list of active runs before any of them is loaded, so that nobody
// begins in a place that is taken.
type gates struct {
	t *term

	mu     sync.Mutex // guards everything below, lanes and places included
	lanes  map[laneKey]*lane
	places map[workflow.RunID]*place
}

// laneKey names a workflow as concurrency counts it: ad-hoc runs and child runs too.
type laneKey struct{ namespace, workflow string }

// lane holds the active runs of one workflow, in the order in which they came to be.
type lane struct {
	key     laneKey
	places  []*place
	holding int // so many of them hold a place
}

// place is one active run in its lane.
//
//	unknown ─▶ waiting ─▶ holding
//	              └─▶ skipped
type place struct {
	run   workflow.RunID
	lane  *lane
	order order

	known    bool // the run has asked: what stands from max to nudge is its own word
	max      int  // 0 = it does not wait for others
	onLimit  workflow.OnLimit
	again    bool // it was begun before: a retry waits where a new run would be skipped
	held     bool // its parent is paused, or has not said yet: it must not begin
	nudge    chan<- struct{}
	holding  bool   // it has begun, or may
	skipped  string // why it is skipped instead; empty = it is not
	stopping bool   // it was told to end, or is about to
}

// order is a run's age: when it was made, or when it was last begun anew.
type order struct {
	at workflow.Time
	id workflow.RunID
}

func (o order) compare(p order) int { return cmp.Or(cmp.Compare(o.at, p.at), cmp.Compare(o.id, p.id)) }

func newGates(t *term) *gates {
	return &gates{t: t, lanes: map[laneKey]*lane{}, places: map[workflow.RunID]*place{}}
}

func orderOf(id workflow.RunID, created workflow.Time, head *engine.Head) order {
	if head.Generation > 1 && head.Status == workflow.RunQueued {
		return order{head.LastAt, id}
	}
	return order{created, id}
}

// rebuild takes up the active runs of the store.
func (g *gates) rebuild(active []activeRun) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range active {
		p := g.join(r.ID, laneKey{r.Namespace, r.Workflow}, orderOf(r.ID, r.CreatedAt, &r.head))
		if r.head.Status != workflow.RunQueued {
			p.take()
		}
		p.stopping = r.head.Status == workflow.RunStopping
	}
}

// take makes the place one that is held. The caller holds mu.
func (p *place) take() {
	if !p.holding {
		p.holding = true
		p.lane.holding++
	}
}

// index is where the place stands in its lane.
func (p *place) index() int {
	i, _ := p.lane.find(p.order)
	return i
}

func (l *lane) find(o order) (int, bool) {
	return slices.BinarySearchFunc(l.places, o, func(p *place, o order) int { return p.order.compare(o) })
}

// join finds or makes the place of a run. The caller holds mu.
func (g *gates) join(id workflow.RunID, key laneKey, o order) *place {
	if p := g.places[id]; p != nil {
		return p
	}
	l := g.lanes[key]
	if l == nil {
		l = &lane{key: key}
		g.lanes[key] = l
	}
	p := &place{run: id, lane: l, order: o}
	l.places = slices.Insert(l.places, p.index(), p)
	g.places[id] = p
	return p
}

// hold notes a run that has begun.
func (g *gates) hold(r *run) {
	in, head := &r.state.Input, &r.state.Head
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.join(r.id, laneKey{in.Namespace, in.Workflow}, orderOf(r.id, in.CreatedAt, head))
	p.known = true
	p.take()
	g.settle(p.lane) // it may have been unknown, and others waiting for its word
}

// ending notes that a run was told to end, by whomever.
func (g *gates) ending(id workflow.RunID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.places[id]; p != nil {
		p.stopping = true
	}
}

// ask says whether a run that is queued may begin; if not, why it is skipped, or nothing: then it waits, and is nudged when
// the answer changes. Asking twice is asking once.
func (g *gates) ask(r *run) (begin bool, skip string) {
	in, head := &r.state.Input, &r.state.Head
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.join(r.id, laneKey{in.Namespace, in.Workflow}, orderOf(r.id, in.CreatedAt, head))
	if !p.known {
		p.known, p.nudge, p.again = true, r.nudge, head.Generation > 1
		if c := r.machine.Definition().Concurrency; c != nil {
			p.max, p.onLimit = c.MaxRuns, c.OnLimit
		}
		// A child begins when its parent says so: the parent may be paused, and know it only when it is loaded.
		p.held = r.held || !r.told && r.parentActive(in)
		g.settle(p.lane)
	}
	return p.holding, p.skipped
}

// free lets a child run begin, or keeps it from that while its parent is paused. It reports whether the run has not begun
// and will not, until it is freed.
func (g *gates) free(r *run, held bool) (waits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.told, r.held = true, held
	p := g.places[r.id]
	if p == nil || !p.known {
		return held
	}
	if p.holding {
		return false // it was let in already
	}
	p.held = held
	g.settle(p.lane)
	return held
}

func (p *place) tell() {
	select {
	case p.nudge <- struct{}{}:
	default: // it has been told already
	}
}

// leave gives back what a run holds, or its place in the queue.
func (g *gates) leave(id workflow.RunID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[id]
	if p == nil {
		return
	}
	delete(g.places, id)
	l := p.lane
	i := p.index()
	l.places = slices.Delete(l.places, i, i+1)
	if p.holding {
		l.holding--
	}
	if len(l.places) == 0 {
		delete(g.lanes, l.key)
		return
	}
	g.settle(l)
}

// pass lets the others go before a queued run that cannot be loaded for now. It asks anew when it is.
func (g *gates) pass(id workflow.RunID) {
	g.mu.Lock()
	p := g.places[id]
	passed := p != nil && !p.known && !p.holding
	g.mu.Unlock()
	if passed {
		g.leave(id)
	}
}

// settle gives out the free places of a lane, strictly in order: whoever stands first and cannot begin keeps the others
// from it, but those that need no place, and is passed only while it is held. The caller holds mu.
func (g *gates) settle(l *lane) {
	if l.holding == len(l.places) {
		return // nobody waits
	}
	blocked, unknown := false, false
	for _, p := range l.places {
		switch {
		case p.holding || p.skipped != "":
		case !p.known:
			blocked, unknown = true, true
		case p.held:
		case p.max == 0 || !blocked && l.holding < p.max:
			p.take()
			p.tell()
		case p.onLimit == workflow.OnLimitSkip && !p.again:
			if !unknown { // somebody before it may be skipped too
				p.skipped = fmt.Sprintf("%s of %s, and max_runs is %d: %s", goOn(l.holders()), l.key.workflow, p.max, names(l.holders()))
				p.tell()
			}
		default:
			blocked = true
			if p.onLimit == workflow.OnLimitCancelRunning {
				g.makeRoom(l, p)
			}
		}
	}
}

// makeRoom stops the oldest runs, until those up to p are as many as it lets. The caller holds mu.
func (g *gates) makeRoom(l *lane, p *place) {
	upTo := l.places[:p.index()+1]
	stay := slices.DeleteFunc(slices.Clone(upTo), func(q *place) bool { return q.stopping || q.skipped != "" })
	for len(stay) > p.max {
		old := stay[0]
		stay = stay[1:]
		old.stopping = true
		stop := engine.Event{
			Kind: engine.Stop, Task: -1, Instance: -1, By: byCairn,
			Reason: fmt.Sprintf("the newer run %s of %s takes its place (on_limit = %q)", p.run, l.key.workflow, workflow.OnLimitCancelRunning),
		}
		g.t.group.Go(func() { g.t.insist(old.run, stop) })
	}
}

func (l *lane) holders() []workflow.RunID {
	var ids []workflow.RunID
	for _, p := range l.places {
		if p.holding {
			ids = append(ids, p.run)
		}
	}
	return ids
}

func goOn(ids []workflow.RunID) string {
	if len(ids) == 1 {
		return "1 run goes on"
	}
	return fmt.Sprintf("%d runs go on", len(ids))
}

// maxNames is how many runs a sentence names.
const maxNames = 5

func names(ids []workflow.RunID) string {
	var texts []string
	for _, id := range ids[:min(len(ids), maxNames)] {
		texts = append(texts, string(id))
	}
	if more := len(ids) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

// notice says why a run has not begun, for people; empty when it has, or is not known here.
func (g *gates) notice(id workflow.RunID) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.places[id]
	switch {
	case p == nil || p.holding || p.skipped != "" || !p.known:
		return ""
	case p.held:
		return "it waits for the run that started it, which is paused"
	}
	return fmt.Sprintf("it waits: %s of %s, and max_runs is %d: %s", goOn(p.lane.holders()), p.lane.key.workflow, p.max, names(p.lane.holders()))
}
