// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// impossibleTimeout is how long an attempt may wait that no worker could ever run, when nothing else is written.
const impossibleTimeout = 10 * time.Minute

// checkTimers holds that nothing that was due at a tick is still waiting after it. more says that the step left work, which
// Continue takes up.
func (j *judge) checkTimers(e engine.Event, p place, more bool) {
	w, s := j.w, j.s
	if e.Kind != engine.Tick || more || s.Head.Status.Terminal() {
		return
	}
	in := s.Instances[p.task][p.instance]
	name := w.def.Tasks[p.task].Name
	paused := s.Head.Status == workflow.RunPaused || s.Head.Status == workflow.RunPausing
	// A retry that is due may wait for its turn.
	bounded := w.def.MaxParallel > 0 || s.Tasks[p.task].MaxParallel > 0 || s.Tasks[p.task].Size > 32
	if isOwn(w.def.Tasks[p.task].BodyKind) {
		if in.Current == nil {
			return
		}
		if own := w.own(s, p); own.due != 0 && own.due <= e.At && !w.cut(s, p.task) {
			w.fail("%s[%d] waits, and its time was %s ago", name, p.instance, e.At.Sub(own.due))
		}
		return
	}
	if in.Status == workflow.Waiting && in.RetryAt <= e.At && !paused && !bounded {
		w.fail("%s[%d] waits until %s ago after a tick", name, p.instance, e.At.Sub(in.RetryAt))
	}
	if in.Current == nil || j.out.starts[workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, in.Number)].Kind == engine.KillAttempt {
		return
	}
	policy := w.effective(s, in, p, in.Number)
	started, running := j.started[p]
	running = running && started.number == in.Number
	now := e.At
	if w.def.Tasks[p.task].BodyKind == workflow.BodyRunWorkflow {
		now = j.paused.active(e.At)
	}
	if running && policy.Timeout > 0 && now >= started.at.Add(policy.Timeout) {
		w.fail("%s[%d]#%d runs for %s, its timeout is %s", name, p.instance, in.Number, e.At.Sub(started.at), policy.Timeout)
	}
	if policy.Deadline > 0 && j.paused.active(e.At) >= in.FirstStart.Add(policy.Deadline) {
		w.fail("%s[%d]#%d is alive past its deadline of %s", name, p.instance, in.Number, policy.Deadline)
	}
	born, known := j.born[workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, in.Number)]
	if known && !running && in.Current.StartedAt == 0 && in.Current.Observed == 0 && policy.StartTimeout > 0 && e.At >= born.Add(policy.StartTimeout) {
		w.fail("%s[%d]#%d has not started for %s, its start_timeout is %s", name, p.instance, in.Number, e.At.Sub(born), policy.StartTimeout)
	}
	held, stuck := j.held[p]
	if stuck && held.number == in.Number && policy.StartTimeout == 0 && e.At >= held.since.Add(impossibleTimeout) {
		w.fail("%s[%d]#%d has been impossible to place for %s", name, p.instance, in.Number, e.At.Sub(held.since))
	}
}

// cause is why an attempt is killed; one that the whole run, or its whole task, takes with it has none of its own.
func cause(c *engine.Current) workflow.Verdict {
	if c.Kill == "" {
		return workflow.VerdictCancelled
	}
	return c.Kill
}

// checkKill holds that an attempt is ended for a reason, and not before its time.
func (j *judge) checkKill(e engine.Event, p place) {
	w, s := j.w, j.s
	in := s.Instances[p.task][p.instance]
	name := w.def.Tasks[p.task].Name
	policy := w.effective(s, in, p, in.Number)
	kill := cause(in.Current)
	j.why[workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, in.Number)] = kill
	w.stats.hit("killed as " + string(kill))
	switch kill {
	case workflow.VerdictTimedOut:
		deadline := policy.Deadline > 0 && j.paused.active(e.At) >= in.FirstStart.Add(policy.Deadline)
		started, known := j.started[p]
		now := e.At
		if w.def.Tasks[p.task].BodyKind == workflow.BodyRunWorkflow {
			now = j.paused.active(e.At)
		}
		timeout := policy.Timeout > 0 && (!known || started.number != in.Number || now >= started.at.Add(policy.Timeout))
		if !deadline && !timeout {
			w.fail("%s[%d]#%d is timed out before its time (timeout %s, deadline %s)", name, p.instance, in.Number, policy.Timeout, policy.Deadline)
		}
		if deadline {
			w.stats.hit("deadline passed")
		}
	case workflow.VerdictError:
		id := workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, in.Number)
		born, known := j.born[id]
		late := policy.StartTimeout > 0 && (!known || e.At >= born.Add(policy.StartTimeout))
		stuck := policy.StartTimeout == 0 && in.Current.ImpossibleSince != 0
		if !late && !stuck {
			w.fail("%s[%d]#%d did not start and is ended before its start_timeout %s", name, p.instance, in.Number, policy.StartTimeout)
		}
		w.stats.hit("start_timeout passed")
	case workflow.VerdictCancelled:
		byHand := e.Kind == engine.CancelTask && e.Task == p.task && (e.Instance < 0 || e.Instance == p.instance)
		if !j.ends(p.task) && !byHand {
			w.fail("%s[%d]#%d is cancelled, and nothing asks for that", name, p.instance, in.Number)
		}
	case workflow.VerdictLost:
		id := workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, in.Number)
		if e.Kind != engine.WorkerLost || e.Attempt != id || e.By == "" && policy.OnWorkerLoss.Mode != workflow.Immediate {
			w.fail("%s is given up, and may not be by %s", id, describe(w, e))
		}
	default:
		w.fail("%s[%d]#%d is ended as %s", name, p.instance, in.Number, kill)
	}
}
