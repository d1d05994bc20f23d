// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"container/heap"
	"sort"

	"github.com/cairnflow/cairn/internal/workflow"
)

// derived is what Step keeps beside the durable state so that its cost is what changed, not the size of the graph. All of
// it follows from the durable state; rebuild computes it from nothing.
type derived struct {
	tasks []taskDerived
	// open and openFinally count the tasks that are not terminal.
	open, openFinally int
	// inflight counts queued instances and live attempts of normal tasks: what the run's max_parallel bounds.
	inflight int
	// live counts attempts without a verdict that were handed out, of all tasks; idle those of them whose child run has come
	// to rest in the pause that the run is in.
	live, idle int
	// work holds the tasks that want a look, blocked those that wait for the run's max_parallel.
	work, blocked taskHeap
	wall, active  timerHeap
	wake          workflow.Time // of the last WakeAt
	outputBytes   int           // of all outputs of the run
	plan          *resetPlan    // of Head.Resetting; nil until it is needed
}

type taskDerived struct {
	// Of the predecessors that the trigger rule counts.
	terminal, ok, bad, succeeded, failed int
	skipBranch                           int // predecessors that skip the branch
	dataOpen                             int // data edges whose task is not terminal

	tally     tally // of the instances in the view
	attempted int   // instances that had an attempt since the task was last reset

	// Instances by what they wait for; nil until used. Live are the attempts that were handed out.
	queued, waiting, live intSet
	// due are the retries whose backoff is over, again the instances that a retry by hand made pending, by position.
	due, again ordered

	shared *workflow.Shared
}

// tally counts instances with a record by status.
type tally struct {
	queued, waiting, starting, running             int
	succeeded, failed, skipped, omitted, cancelled int
}

func (c *tally) add(s workflow.Status, n int) {
	switch s {
	case workflow.Queued:
		c.queued += n
	case workflow.Waiting:
		c.waiting += n
	case workflow.Starting:
		c.starting += n
	case workflow.Running:
		c.running += n
	case workflow.Succeeded:
		c.succeeded += n
	case workflow.Failed:
		c.failed += n
	case workflow.Skipped:
		c.skipped += n
	case workflow.Omitted:
		c.omitted += n
	case workflow.Cancelled:
		c.cancelled += n
	}
}

func (c *tally) terminal() int {
	return c.succeeded + c.failed + c.skipped + c.omitted + c.cancelled
}

type intSet map[int]struct{}

func (s *intSet) add(n int) {
	if *s == nil {
		*s = intSet{}
	}
	(*s)[n] = struct{}{}
}

func (s intSet) del(n int) { delete(s, n) }

// sorted lists the set in order, so that nothing depends on how it came about.
func (s intSet) sorted() []int {
	out := make([]int, 0, len(s))
	for n := range s {
		out = append(out, n)
	}
	sort.Ints(out)
	return out
}

// ordered is a set of instance numbers that gives the one with the lowest position first. What is deleted leaves its heap
// when it comes up.
type ordered struct {
	heap positionHeap
	in   map[int]bool
}

type positionHeap [][2]int // position, number

func (h positionHeap) Len() int           { return len(h) }
func (h positionHeap) Less(i, j int) bool { return h[i][0] < h[j][0] }
func (h positionHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *positionHeap) Push(x any)        { *h = append(*h, x.([2]int)) }
func (h *positionHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

func (o *ordered) add(position, number int) {
	if o.in == nil {
		o.in = map[int]bool{}
	}
	if !o.in[number] {
		o.in[number] = true
		heap.Push(&o.heap, [2]int{position, number})
	}
}

func (o *ordered) del(number int) { delete(o.in, number) }

func (o *ordered) len() int { return len(o.in) }

// first is the member with the lowest position.
func (o *ordered) first() (position, number int, ok bool) {
	for len(o.heap) > 0 {
		if top := o.heap[0]; o.in[top[1]] {
			return top[0], top[1], true
		}
		heap.Pop(&o.heap)
	}
	return 0, 0, false
}

// taskHeap is a set of task numbers that gives the lowest first.
type taskHeap struct {
	order []int
	in    map[int]bool
}

func (h *taskHeap) Len() int           { return len(h.order) }
func (h *taskHeap) Less(i, j int) bool { return h.order[i] < h.order[j] }
func (h *taskHeap) Swap(i, j int)      { h.order[i], h.order[j] = h.order[j], h.order[i] }
func (h *taskHeap) Push(x any)         { h.order = append(h.order, x.(int)) }
func (h *taskHeap) Pop() any {
	n := h.order[len(h.order)-1]
	h.order = h.order[:len(h.order)-1]
	return n
}

func (h *taskHeap) add(n int) {
	if h.in == nil {
		h.in = map[int]bool{}
	}
	if !h.in[n] {
		h.in[n] = true
		heap.Push(h, n)
	}
}

func (h *taskHeap) take() int {
	n := heap.Pop(h).(int)
	delete(h.in, n)
	return n
}

// setStatus moves an instance to a status and keeps every index of it.
func (s *State) setStatus(t, i int, to workflow.Status) {
	in, d := s.Instances[t][i], &s.tasks[t]
	from := in.Status
	if from == to {
		return
	}
	in.Status = to
	s.dirty.instance(t, i)
	position, seen := s.position(t, i)
	if !seen {
		return
	}
	d.tally.add(from, -1)
	d.tally.add(to, 1)
	switch from {
	case workflow.Queued:
		d.queued.del(i)
	case workflow.Waiting:
		d.waiting.del(i)
		d.due.del(i)
	case workflow.Pending:
		d.again.del(i)
	}
	switch to {
	case workflow.Queued:
		d.queued.add(i)
	case workflow.Waiting:
		d.waiting.add(i)
	case workflow.Pending:
		d.again.add(position, i)
	}
}

// occupies reports whether an instance of this status counts for max_parallel.
func occupies(s workflow.Status) bool {
	return s == workflow.Queued || s == workflow.Starting || s == workflow.Running
}

// inflight is the number of instances of the task that count for max_parallel.
func (d *taskDerived) inflight() int {
	return d.tally.queued + d.tally.starting + d.tally.running
}
