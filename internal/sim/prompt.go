// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// checkPrompt holds that a step leaves nothing undone that nobody would come back for: rules that are decided, room under
// max_parallel, a pause that is complete. Nothing of this waits for another event, except for Continue.
func (j *judge) checkPrompt(e engine.Event, more bool) {
	w, s := j.w, j.s
	h := &s.Head
	if more || h.Status.Terminal() || h.Status == workflow.RunQueued {
		return
	}
	running := h.Status == workflow.RunRunning
	live, busy := 0, 0
	for n, ins := range s.Instances {
		for i, in := range ins {
			rests := in.Current != nil && j.rests[workflow.MakeAttemptID(s.Input.Run, n, i, in.Number)]
			if in.Current != nil && !isOwn(w.def.Tasks[n].BodyKind) && !rests {
				live++
			}
			if w.counted(n) && occupied(in) {
				busy++
			}
		}
	}
	if h.Status == workflow.RunPaused && j.was.status != workflow.RunPaused && live > 0 {
		w.fail("after %s the run is paused, and %d attempts run", describe(w, e), live)
	}
	if h.Status == workflow.RunPausing && live == 0 {
		w.fail("after %s nothing runs any more and the run is still pausing", describe(w, e))
	}
	room := w.def.MaxParallel == 0 || busy < w.def.MaxParallel
	for n, t := range s.Tasks {
		def := &w.def.Tasks[n]
		switch finally := def.Kind == workflow.KindFinally; {
		case t.Status.Terminal():
		case finally && !h.FinallyBegun || h.Terminated:
		case t.Status == workflow.Pending && (h.Ending == "" || finally):
			j.checkDecided(e, n, running || finally && h.Status == workflow.RunStopping)
		case running && t.Expanded && t.Rest == "" && (room || !w.counted(n)) && t.Status != workflow.Pending:
			own, pending := 0, 0
			for position := range t.Size {
				i := numberAt(s, n, position)
				if !recorded(s, n, i) {
					pending++
				} else if in := s.Instances[n][i]; occupied(in) || in.Current != nil {
					own++
				}
			}
			if own == 0 && pending > 0 {
				w.fail("after %s task %s has begun %d of %d instances, nothing of it is under way, and there is room", describe(w, e), def.Name, t.Begun, t.Size)
			}
		}
	}
}

// counted reports whether the run's max_parallel counts a task: not finally, and of what needs no machine only child runs.
func (w *world) counted(n int) bool {
	switch w.def.Tasks[n].BodyKind {
	case workflow.BodyApproval, workflow.BodyWait, workflow.BodyHTTP:
		return false
	}
	return w.def.Tasks[n].Kind == workflow.KindTask
}

// occupied reports whether an instance counts for max_parallel.
func occupied(in *engine.Instance) bool {
	return in.Status == workflow.Queued || in.Status == workflow.Starting || in.Status == workflow.Running
}

// checkDecided holds that a task does not stay pending once its rule says what becomes of it.
func (j *judge) checkDecided(e engine.Event, n int, mayStart bool) {
	w, s := j.w, j.s
	def := &w.def.Tasks[n]
	var facts []fact
	for _, p := range w.graph.Rule(n) {
		facts = append(facts, w.factOf(s, p))
	}
	for _, d := range decide(def.TriggerRule, facts) {
		switch d {
		case ruleWaits:
			return
		case ruleRuns:
			if !mayStart {
				return
			}
			for _, p := range w.graph.Data(n) {
				if !s.Tasks[p].Status.Terminal() {
					return
				}
			}
		}
		w.fail("after %s task %s is pending and its rule %s %s over %v", describe(w, e), def.Name, def.TriggerRule, d, facts)
	}
}
