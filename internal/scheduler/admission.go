// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"container/heap"
	"container/list"
	"slices"
	"sync"

	"github.com/cairnflow/cairn/internal/workflow"
)

// admission bounds the attempts in flight and decides who is next: the highest priority first, runs of one priority in
// turn, and within a run declaration order, then instance order. A want becomes a grant, which its run takes and either
// binds to the attempt that came of it or gives back.
type admission struct {
	limit int

	mu         sync.Mutex // guards everything below, members included
	inflight   int        // grants not given back, bound or not, and held attempts
	priorities []int      // with a queue, highest first
	queues     map[int]*list.List
	awaited    int             // runs of which nobody knows how many attempts are in flight: until then nobody is let in
	closed     map[string]bool // namespaces whose executor is in trouble: nobody is let in
}

// member is one run's part of the admission.
type member struct {
	priority  int
	namespace string
	nudge     chan<- struct{} // told, without waiting, that there is something to take

	wants   wantHeap
	wanted  map[want]bool // members of wants that were not withdrawn
	granted []want
	pending int // taken, not yet bound or given back
	bound   map[workflow.AttemptID]bool
	place   *list.Element // in the queue of its priority; nil while it wants nothing
	left    bool
}

type want struct{ task, instance int }

func newAdmission(limit int) *admission {
	return &admission{limit: limit, queues: map[int]*list.List{}, closed: map[string]bool{}}
}

func (a *admission) join(priority int, namespace string, nudge chan<- struct{}) *member {
	return &member{
		priority: priority, namespace: namespace, nudge: nudge,
		wanted: map[want]bool{}, bound: map[workflow.AttemptID]bool{},
	}
}

// unknown is awaited of a run when nobody knows how many of its attempts are in flight.
const unknown = -1

// await keeps places for a run that is to arrive with its attempts in flight, at most so many: at a takeover, places must not
// be given away that are taken. As long as one of unknown need is awaited, nobody is let in.
func (a *admission) await(places int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if places == unknown {
		a.awaited++
		return
	}
	a.inflight += places
}

// arrive says that a run that was awaited with so many places holds them itself, or will take longer than the others should
// wait.
func (a *admission) arrive(places int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if places == unknown {
		a.awaited--
	} else {
		a.inflight -= places
	}
	a.grant()
}

// leave takes back everything the member wants or has.
func (a *admission) leave(m *member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.left {
		return
	}
	m.left = true
	a.inflight -= len(m.granted) + m.pending + len(m.bound)
	m.wants, m.wanted, m.granted, m.pending = nil, nil, nil, 0
	clear(m.bound)
	a.unqueue(m)
	a.grant()
}

func (a *admission) want(m *member, w want) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.wanted[w] {
		return
	}
	m.wanted[w] = true
	heap.Push(&m.wants, w)
	if m.place == nil {
		q := a.queues[m.priority]
		if q == nil {
			q = list.New()
			a.queues[m.priority] = q
			a.priorities = append(a.priorities, m.priority)
			slices.SortFunc(a.priorities, func(x, y int) int { return y - x })
		}
		m.place = q.PushBack(m)
	}
	a.grant()
}

func (a *admission) withdraw(m *member, w want) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.wanted[w] {
		delete(m.wanted, w)
		if i := slices.Index(m.wants, w); i >= 0 {
			heap.Remove(&m.wants, i)
		}
		if len(m.wants) == 0 {
			a.unqueue(m)
		}
	} else if i := slices.Index(m.granted, w); i >= 0 {
		m.granted = slices.Delete(m.granted, i, i+1)
		a.release()
	}
}

// take gives the next grant of the member; the caller answers with bind or giveBack.
func (a *admission) take(m *member) (w want, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(m.granted) == 0 {
		return want{}, false
	}
	w = m.granted[0]
	m.granted = slices.Delete(m.granted, 0, 1)
	m.pending++
	return w, true
}

// bind keeps a taken place for an attempt until free.
func (a *admission) bind(m *member, id workflow.AttemptID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.left {
		return
	}
	m.pending--
	if m.bound[id] {
		a.release()
		return
	}
	m.bound[id] = true
}

// giveBack returns a taken place that nothing came of.
func (a *admission) giveBack(m *member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.left {
		return
	}
	m.pending--
	a.release()
}

// hold counts an attempt that is in flight already, over the limit if need be.
func (a *admission) hold(m *member, id workflow.AttemptID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !m.left && !m.bound[id] {
		m.bound[id] = true
		a.inflight++
	}
}

// free gives the place of an attempt to the next.
func (a *admission) free(m *member, id workflow.AttemptID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.bound[id] {
		delete(m.bound, id)
		a.release()
	}
}

// setClosed lets nobody of the namespace in, or somebody again.
func (a *admission) setClosed(namespace string, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if closed {
		a.closed[namespace] = true
		return
	}
	delete(a.closed, namespace)
	a.grant()
}

func (a *admission) release() {
	a.inflight--
	a.grant()
}

func (a *admission) unqueue(m *member) {
	if m.place != nil {
		a.queues[m.priority].Remove(m.place)
		m.place = nil
	}
}

// grant fills the free places.
func (a *admission) grant() {
	if a.awaited > 0 {
		return
	}
	for _, p := range a.priorities {
		q := a.queues[p]
		for e := q.Front(); e != nil && a.inflight < a.limit; {
			m := e.Value.(*member)
			if a.closed[m.namespace] {
				e = e.Next()
				continue
			}
			w := heap.Pop(&m.wants).(want)
			delete(m.wanted, w)
			m.granted = append(m.granted, w)
			a.inflight++
			if len(m.wants) == 0 {
				a.unqueue(m)
			} else {
				q.MoveToBack(e)
			}
			select {
			case m.nudge <- struct{}{}:
			default: // it has been told already
			}
			e = q.Front()
		}
		if a.inflight >= a.limit {
			return
		}
	}
}

// wantHeap orders by declaration, then instance.
type wantHeap []want

func (h wantHeap) Len() int { return len(h) }
func (h wantHeap) Less(i, j int) bool {
	if h[i].task != h[j].task {
		return h[i].task < h[j].task
	}
	return h[i].instance < h[j].instance
}
func (h wantHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *wantHeap) Push(x any)   { *h = append(*h, x.(want)) }
func (h *wantHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	*h = (*h)[:last]
	return w
}

// size is how many places are taken, and how many instances wait for one.
func (a *admission) size() (inflight, queued int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.queues {
		for e := q.Front(); e != nil; e = e.Next() {
			queued += len(e.Value.(*member).wanted)
		}
	}
	return a.inflight, queued
}
