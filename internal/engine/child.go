// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// A child run is an attempt of its parent's task: started, watched, killed and judged like any other. It asks for no
// admission: a parent must not hold a place that its child waits for.

// spawn makes the attempt that is a child run. A retry by hand takes up the child of the attempt before, if that did not end
// well and its params are the same; a retry by policy starts another one.
func (t *turn) spawn(n, i int) {
	m, s := t.m, t.s
	if s.Input.Depth+1 > workflow.MaxRunDepth {
		t.unmade(n, i, fmt.Errorf("child runs nest at most %d deep", workflow.MaxRunDepth))
		return
	}
	body, err := t.prepare(n, i)
	if err != nil {
		t.unmade(n, i, err)
		return
	}
	in := s.Instances[n][i]
	byHand := !m.attempted(s, n, i) && len(in.Past) > 0
	t.attempt(n, i, body)
	in.QueuedAt = t.at
	c := in.Current
	c.Place.Child, c.ChildGeneration = workflow.ChildRunID(s.attemptID(n, i)), 1
	if byHand {
		last := &in.Past[len(in.Past)-1]
		if last.Place.Child != "" && last.Verdict != workflow.VerdictSucceeded && last.BodyHash == c.BodyHash {
			c.Place.Child, c.ChildGeneration = last.Place.Child, last.ChildGeneration+1
		}
	}
	t.handOut(n, i, body)
}

// holding reports whether child runs are to be paused: their parent is.
func (h *Head) holding() bool {
	return h.Status == workflow.RunPausing || h.Status == workflow.RunPaused
}

// rests reports whether the child run of an attempt has come to rest in the pause that the run is in.
func (h *Head) rests(c *Current) bool { return h.holding() && c.Idle == h.Pauses }

// childRests notes that a child run has come to rest, or goes on, in a pause of the run. Outside of pauses nobody asks.
func (t *turn) childRests(n, i int, rests bool) {
	h, c := &t.s.Head, t.s.Instances[n][i].Current
	if t.m.def.Tasks[n].BodyKind != workflow.BodyRunWorkflow || !h.holding() || h.rests(c) == rests {
		return
	}
	if rests {
		c.Idle = h.Pauses
		t.s.idle++
	} else {
		c.Idle = 0
		t.s.idle--
	}
	t.s.dirty.instance(n, i)
}

// hold tells child runs that what is wanted of them changed: to pause, or to go on.
func (t *turn) hold() {
	t.eachLive(func(n, i int) {
		if t.m.def.Tasks[n].BodyKind != workflow.BodyRunWorkflow {
			return
		}
		if verdict, _ := t.m.doom(t.s, n, t.s.Instances[n][i]); verdict == "" {
			t.emit(t.m.command(t.s, n, i))
		}
	})
}
