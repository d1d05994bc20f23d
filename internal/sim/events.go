// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// entry is what the journal keeps of an event, taken before it is folded in.
func (w *world) entry(s *engine.State, e engine.Event) journalEntry {
	j := journalEntry{event: e, before: s.Head.Status, ending: s.Head.Ending, generation: s.Head.Generation, begun: s.Head.StartedAt != 0}
	if e.Kind == engine.CancelTask && e.Task >= 0 {
		j.open = !s.Tasks[e.Task].Status.Terminal()
	}
	return j
}

// commit saves what a turn changed, unless the store fails, and notes what is now part of history.
func (w *world) commit(l *leader, records []engine.Record, entries []journalEntry, commands []engine.Command) error {
	if w.chance(w.profile.saveLost) {
		w.stats.hit("save lost")
		return errUnknown
	}
	if err := w.store.save(l.epoch, records); err != nil {
		w.stats.hit("save fenced")
		return err
	}
	w.history = append(w.history, entries...)
	w.resets = maps.Clone(l.judge.resets)
	for _, c := range commands {
		if c.Kind == engine.StartAttempt || c.Kind == engine.KillAttempt {
			w.store.recorded[c.Start.Attempt] = true
			w.store.newest[place{c.Start.TaskNo, c.Start.Instance}] = c.Start.Number
		}
	}
	if w.chance(w.profile.saveBlind) {
		w.stats.hit("save commits and reports a timeout")
		return errUnknown
	}
	return nil
}

// planVerbs lays out what people do to the run.
func (w *world) planVerbs() {
	kinds := []engine.EventKind{
		engine.Stop, engine.Terminate, engine.Pause, engine.Pause, engine.Pause, engine.Resume,
		engine.CancelTask, engine.CancelTask, engine.CancelTask, engine.CancelTask,
		engine.Approve, engine.Approve, engine.Reject, engine.Retry, engine.RetryTask, engine.RetryTask, engine.RetryTask,
		engine.SkipTask, engine.SkipTask, engine.SkipTask, engine.SucceedTask, engine.SucceedTask,
	}
	if w.slow > 0 {
		w.after(w.between(0, w.slow), func() { w.use(w.drawVerb(engine.SkipRun)) })
	}
	for _, t := range w.def.Tasks {
		if t.BodyKind == workflow.BodyRunWorkflow && w.profile.verbs > 0 && w.chance(0.3) {
			at := w.between(0, w.profile.until)
			w.after(at, func() { w.use(engine.Event{Kind: engine.Pause, By: "operator"}) })
			w.after(at+w.between(time.Second, 5*time.Minute), func() { w.use(engine.Event{Kind: engine.Resume, By: "operator"}) })
		}
	}
	for range w.profile.verbs {
		e := engine.Event{Kind: kinds[w.r.IntN(len(kinds))]}
		at := w.between(0, w.profile.until)
		if w.chance(0.03) {
			at = 0
		}
		drawn := false
		draw := func() engine.Event { // when it is used, so that it may fit
			if !drawn {
				e, drawn = w.drawVerb(e.Kind), true
			}
			return e
		}
		w.after(at, func() { w.use(draw()) })
		if e.Kind == engine.Pause {
			w.after(at+w.between(time.Second, 15*time.Minute), func() { w.use(engine.Event{Kind: engine.Resume, By: "operator"}) })
		}
		if w.chance(0.2) {
			w.stats.hit("verb doubled")
			w.after(at+w.between(0, time.Minute), func() { w.use(draw()) })
		}
	}
}

func (w *world) use(e engine.Event) {
	w.stats.hit("verb " + string(e.Kind))
	w.logf("operator: %s", e.Kind)
	w.deliver(e)
}

// rollback restores the store under whoever leads. What happened since did not happen, but the executor remembers.
func (w *world) rollback() {
	if len(w.store.snapshots) == 0 {
		return
	}
	w.stats.hit("store rolled back")
	snap := w.store.rollback(w.r.IntN(len(w.store.snapshots)))
	w.history = w.history[:snap.history:snap.history]
	w.undone, w.undoneAt = true, w.maxAt
	w.scopes, w.verdicts = map[scopeKey]workflow.Scope{}, map[workflow.AttemptID]workflow.Verdict{}
	w.logf("the store is rolled back")
	s, err := w.machine.Load(w.store.load())
	if err != nil {
		w.fail("load after a rollback: %v", err)
	}
	w.store.newest = map[place]int{}
	for n, ins := range s.Instances {
		for i, in := range ins {
			w.store.newest[place{n, i}] = in.Number
		}
	}
	for _, j := range w.executor.order {
		j.orphan = j.orphan || w.executor.undone(j)
	}
	// Whatever was on its way to the run belongs to the lost history; submitting is done again by its caller.
	w.deliver(engine.Event{Kind: engine.Begin})
}

// savedInstance reads one instance as it is stored.
func (w *world) savedInstance(p place) *engine.Instance {
	s, err := w.machine.Load(w.store.load())
	if err != nil {
		w.fail("load: %v", err)
	}
	if ins := s.Instances[p.task]; p.instance < len(ins) {
		return ins[p.instance]
	}
	return nil
}

// judgeLaunch holds what must hold when a process begins, whoever asked for it and however late.
func (w *world) judgeLaunch(j *job) {
	if j.ran && !w.undone {
		w.fail("%s runs twice", j.id)
	}
	if j.orphan {
		return
	}
	for _, o := range w.executor.open {
		if o != j && o.at == j.at && o.phase == jobRunning && !o.orphan {
			w.fail("%s begins while %s runs", j.id, o.id)
		}
	}
	// One that was admitted in the history that a rollback restored has the fence it had then.
	if f := w.fences[j.at]; j.start.Fence <= f && (!w.undone || j.start.Fence > int64(w.undoneAt)/1e6) {
		w.fail("%s begins with fence %d, an earlier one of its instance had %d", j.id, j.start.Fence, f)
	}
	w.fences[j.at] = max(w.fences[j.at], j.start.Fence)
	if l := w.leader; l != nil && w.calm && l.state.Head.Status.Terminal() && len(l.inbox) == 0 && !w.undone {
		w.fail("%s begins and the run is over", j.id)
	}
}

type scopeKey struct {
	state *engine.State
	task  int
	began workflow.Time
	life  int
}

// cachedScope is scope, remembered for tasks that have begun: their view does not change any more.
func (w *world) cachedScope(s *engine.State, n int) workflow.Scope {
	k := scopeKey{s, n, s.Tasks[n].BeganAt, s.Tasks[n].Generation}
	if got, ok := w.scopes[k]; ok {
		return got
	}
	got := w.scope(s, n)
	w.scopes[k] = got
	return got
}

func describeCommand(w *world, c engine.Command) string {
	switch c.Kind {
	case engine.StartAttempt, engine.KillAttempt:
		return fmt.Sprintf("%s %s[%d]#%d fence %d", c.Kind, c.Start.Task, c.Start.Instance, c.Start.Number, c.Start.Fence)
	case engine.Want, engine.Withdraw:
		return fmt.Sprintf("%s %s[%d]", c.Kind, w.def.Tasks[c.Task].Name, c.Instance)
	case engine.WakeAt:
		return fmt.Sprintf("%s %.3fs", c.Kind, float64(c.At-epoch0)/1e9)
	}
	return fmt.Sprintf("%s %s", c.Kind, c.Attempt)
}

// describeTasks is one line of all statuses.
func describeTasks(w *world, s *engine.State) string {
	var b strings.Builder
	if s.Head.Ending != "" {
		fmt.Fprintf(&b, " (%s)", s.Head.Ending)
	}
	for n, t := range s.Tasks {
		if n == 20 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %s=%s", w.def.Tasks[n].Name, t.Status)
		if len(s.Instances[n]) > 0 && t.Expanded && w.def.Tasks[n].Shape() != workflow.ShapePlain {
			b.WriteByte('[')
			for i, in := range s.Instances[n] {
				if i == 8 {
					b.WriteString("…")
					break
				}
				b.WriteString(string(in.Status[:1]))
			}
			fmt.Fprintf(&b, " of %d]", t.Size)
		}
	}
	return b.String()
}
