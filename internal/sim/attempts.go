// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// checkInstance holds what an instance may do in a step.
func (j *judge) checkInstance(e engine.Event, p place, was, now instanceStamp) {
	w := j.w
	name := w.def.Tasks[p.task].Name
	switch {
	case was.status.Terminal() && now.status != was.status && !j.resettable(p.task, p.instance, was.status) && !j.byHand(e, p, was.status):
		w.fail("%s[%d] was %s and %s made it %s", name, p.instance, was.status, describe(w, e), now.status)
	case now.number < was.number || now.number > was.number+1:
		w.fail("%s[%d] went from attempt %d to %d", name, p.instance, was.number, now.number)
	case now.number > was.number && was.current && now.past == was.past:
		w.fail("%s[%d] began attempt %d while %d had no verdict", name, p.instance, now.number, was.number)
	case now.number > was.number && now.fence <= was.fence:
		w.fail("%s[%d]: attempt %d has fence %d, the one before %d", name, p.instance, now.number, now.fence, was.fence)
	case now.number == was.number && now.fence != was.fence:
		w.fail("%s[%d]: the fence of attempt %d changed", name, p.instance, now.number)
	case now.past < was.past || now.past > was.past+1:
		w.fail("%s[%d] has %d verdicts, it had %d", name, p.instance, now.past, was.past)
	case now.past == was.past && now.last != was.last:
		w.fail("%s[%d]: a verdict changed from %s to %s", name, p.instance, was.last, now.last)
	case now.status.Terminal() && now.current:
		w.fail("%s[%d] is %s while attempt %d runs", name, p.instance, now.status, now.number)
	case now.number > was.number && e.Kind != engine.Admit && !isOwn(w.def.Tasks[p.task].BodyKind) && w.def.Tasks[p.task].BodyKind != workflow.BodyRunWorkflow:
		w.fail("%s[%d]: attempt %d was made by %s, not by an admission", name, p.instance, now.number, e.Kind)
	}
	if isOwn(w.def.Tasks[p.task].BodyKind) && now.past > was.past {
		j.checkOwnVerdict(e, p)
	} else if now.past > was.past {
		j.checkVerdict(e, p, was)
	} else if now.status == workflow.Failed && was.status != workflow.Failed {
		j.checkFailed(e, p)
	}
}

// checkFailed holds that an instance fails without a verdict only when its attempt cannot be made, or its deadline has passed.
func (j *judge) checkFailed(e engine.Event, p place) {
	w, s := j.w, j.s
	in := s.Instances[p.task][p.instance]
	kind := w.def.Tasks[p.task].BodyKind
	if (e.Kind == engine.Admit || isOwn(kind) || kind == workflow.BodyRunWorkflow) && w.cannotRender(s, p, in.Number+1) {
		return
	}
	if in.FirstStart != 0 {
		policy := w.effective(s, in, p, in.Number)
		if policy.Deadline > 0 && j.paused.active(e.At) >= in.FirstStart.Add(policy.Deadline) {
			w.stats.hit("deadline passed between tries")
			return
		}
	}
	w.fail("%s[%d] failed (%s) by %s, and nothing is wrong", w.def.Tasks[p.task].Name, p.instance, in.Reason, describe(w, e))
}

// checkVerdict holds a new verdict against what the executor told, and what follows of it against the retry policy.
func (j *judge) checkVerdict(e engine.Event, p place, was instanceStamp) {
	w, s := j.w, j.s
	in := s.Instances[p.task][p.instance]
	a := in.Past[len(in.Past)-1]
	id := workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, a.Number)
	if e.Kind != engine.Ended || e.Attempt != id || a.Number != was.number || !was.current {
		w.fail("%s got verdict %s from %s", id, a.Verdict, describe(w, e))
	}
	if allowed := expectVerdict(w, p.task, e.Outcome, j.dying || in.Current != nil); !slices.Contains(allowed, a.Verdict) {
		w.fail("%s got verdict %s (%s), want one of %v: %s, being killed: %t", id, a.Verdict, a.Message, allowed, describeOutcome(e.Outcome), j.dying)
	}
	if a.Verdict == workflow.VerdictSucceeded && e.Outcome.Kind != engine.OutcomeSkipped {
		j.checkOutputs(id, p.task, &a, e.Outcome)
	} else if len(a.Outputs) > 0 {
		w.fail("%s is %s and has outputs", id, a.Verdict)
	}
	w.stats.hit("verdict " + string(a.Verdict))
	policy := w.effective(s, in, p, a.Number)
	tries, losses := counts(life(s, p.task, in))
	if a.Verdict == workflow.VerdictInterrupted && e.Outcome.Kind == engine.OutcomeEvicted {
		losses++
	}
	if tries > policy.Retry.MaxAttempts && !w.dynamicRetry(p.task) {
		w.fail("%s is try %d of %d", id, tries, policy.Retry.MaxAttempts)
	}
	if losses > policy.Retry.MaxLost+1 && !w.dynamicRetry(p.task) {
		w.fail("%s is loss %d of %d", id, losses, policy.Retry.MaxLost)
	}
	j.checkRetry(e, p, in, &a, was, policy, tries, losses)
}

// counts are the attempts that count against max_attempts and those that count against max_lost. One that was interrupted, and
// is not the last, was evicted: no other is tried again.
func counts(past []engine.Attempt) (tries, losses int) {
	for i, a := range past {
		switch a.Verdict {
		case workflow.VerdictLost:
			losses++
		case workflow.VerdictInterrupted:
			if i < len(past)-1 {
				losses++
			}
		case workflow.VerdictFailed, workflow.VerdictTimedOut, workflow.VerdictError, workflow.VerdictSucceeded:
			tries++
		}
	}
	return tries, losses
}

func (w *world) dynamicRetry(task int) bool {
	for _, d := range w.def.Tasks[task].Dynamic {
		if d.Attr == "retry.max_attempts" || d.Attr == "retry.max_lost" {
			return true
		}
	}
	return false
}

// expectVerdict lists what may become of an outcome. An attempt that ended by itself while it was being ended may be judged
// by its own end; success always counts.
func expectVerdict(w *world, task int, o *engine.Outcome, dying bool) []workflow.Verdict {
	var out []workflow.Verdict
	switch o.Kind {
	case engine.OutcomeExited:
		switch {
		case o.ExitCode != nil && *o.ExitCode == 0 && o.Signal == 0 && !o.OOM:
			if _, ok := expectOutputs(w, task, o); ok || o.OutputsLost {
				return []workflow.Verdict{workflow.VerdictSucceeded}
			}
			out = append(out, workflow.VerdictFailed)
		default:
			out = append(out, workflow.VerdictFailed)
		}
	case engine.OutcomeKilled:
		if !dying { // by a leader whose history was undone
			out = append(out, workflow.VerdictInterrupted, workflow.VerdictCancelled)
		}
	case engine.OutcomeInterrupted, engine.OutcomeEvicted:
		out = append(out, workflow.VerdictInterrupted)
	case engine.OutcomeLost:
		out = append(out, workflow.VerdictLost)
	case engine.OutcomeError, engine.OutcomeInvalid:
		out = append(out, workflow.VerdictError)
	case engine.OutcomeTimedOut:
		out = append(out, workflow.VerdictTimedOut)
	case engine.OutcomeFailed:
		out = append(out, workflow.VerdictFailed)
	case engine.OutcomeSkipped:
		return []workflow.Verdict{workflow.VerdictSucceeded}
	}
	if dying { // why it is killed is held when the kill is issued
		out = append(out, workflow.VerdictCancelled, workflow.VerdictTimedOut, workflow.VerdictError, workflow.VerdictLost)
	}
	return out
}

// checkOutputs holds the outputs of a succeeded attempt against what its process wrote.
func (j *judge) checkOutputs(id workflow.AttemptID, task int, a *engine.Attempt, o *engine.Outcome) {
	want, ok := expectOutputs(j.w, task, o)
	if !ok {
		return
	}
	if len(want) != len(a.Outputs) {
		j.w.fail("%s has outputs %s, it wrote %v", id, encoded(a.Outputs), want)
	}
	for name, text := range want {
		if got := string(a.Outputs[name].JSON); got != text {
			j.w.fail("%s has output %s = %s, it wrote %s", id, name, got, text)
		}
	}
}

// checkRetry holds what became of the instance after a verdict.
func (j *judge) checkRetry(e engine.Event, p place, in *engine.Instance, a *engine.Attempt, was instanceStamp, policy workflow.Policy, tries, losses int) {
	w, s := j.w, j.s
	id := workflow.MakeAttemptID(s.Input.Run, p.task, p.instance, a.Number)
	again := !in.Status.Terminal()
	switch {
	case a.Verdict == workflow.VerdictSucceeded && e.Outcome.Kind == engine.OutcomeSkipped:
		if in.Status != workflow.Skipped {
			w.fail("the child run of %s was skipped and its instance is %s", id, in.Status)
		}
		w.stats.hit("child run skipped")
		return
	case a.Verdict == workflow.VerdictSucceeded:
		lost := a.OutputsLost && in.Status == workflow.Failed
		if in.Status != workflow.Succeeded && !lost {
			w.fail("%s succeeded and its instance is %s", id, in.Status)
		}
		return
	case a.Verdict == workflow.VerdictCancelled:
		if in.Status != workflow.Cancelled {
			w.fail("%s was cancelled and its instance is %s", id, in.Status)
		}
		return
	case j.ends(p.task) || j.dying && j.why[id] == workflow.VerdictCancelled:
		if again {
			w.fail("%s ended as %s while it was being cancelled and its instance is %s", id, a.Verdict, in.Status)
		}
		return
	}
	due, sure := j.retryDue(e, p, a, policy, tries, losses)
	if !sure {
		return
	}
	if due && !again && j.spawnsInVain(p, a, policy.Retry, tries, losses, e.Random) {
		w.stats.hit("next child run cannot be made")
		return
	}
	if again != due {
		w.fail("%s ended as %s (%s): its instance is %s, tries %d of %d, losses %d of %d, deadline %s, on_exit_codes %v, retry due: %t",
			id, a.Verdict, a.Message, in.Status, tries, policy.Retry.MaxAttempts, losses, policy.Retry.MaxLost, policy.Deadline, policy.Retry.OnExitCodes, due)
	}
	if !again {
		if in.Status != workflow.Failed {
			w.fail("%s ended as %s and its instance is %s", id, a.Verdict, in.Status)
		}
		return
	}
	w.stats.hit("retry after " + string(a.Verdict))
	low, high := j.waits(policy.Retry, a, tries, losses, e.Random)
	if in.Status == workflow.Waiting && (in.RetryAt < e.At.Add(low) || in.RetryAt > e.At.Add(high)) {
		w.fail("%s: the wait before the next try is %s, want %s to %s", id, in.RetryAt.Sub(e.At), low, high)
	}
	if in.Status != workflow.Waiting && low > 0 {
		w.fail("%s: the next try is %s at once, its wait is %s", id, in.Status, low)
	}
}

// spawnsInVain reports whether the next try of a child run comes at once, without asking for admission, and its params are an
// error.
func (j *judge) spawnsInVain(p place, a *engine.Attempt, r workflow.Retry, tries, losses int, random float64) bool {
	low, _ := j.waits(r, a, tries, losses, random)
	return low == 0 && j.w.def.Tasks[p.task].BodyKind == workflow.BodyRunWorkflow && j.w.cannotRender(j.s, p, a.Number+1)
}

// byHand reports whether a verb gave an instance that had failed another status at once.
func (j *judge) byHand(e engine.Event, p place, was workflow.Status) bool {
	g := j.s.Instances[p.task][p.instance].Given
	return was == workflow.Failed && (e.Kind == engine.SkipTask || e.Kind == engine.SucceedTask) && e.Task == p.task && g != nil && !g.Next
}

// ends reports whether attempts of a task are being cancelled, or may be: then no verdict leads to a retry.
func (j *judge) ends(task int) bool {
	s := j.s
	if s.Tasks[task].Cancelling != "" || s.Head.Terminated {
		return true
	}
	if j.w.def.Tasks[task].Kind == workflow.KindFinally {
		return false
	}
	switch s.Head.Ending {
	case engine.EndingStop, engine.EndingTimeout:
		return true
	case engine.EndingFailFast:
		return !s.Tasks[task].Exempt
	}
	return false
}

// retryDue is the retry policy of the semantics, in its order. sure is false where they leave it open.
func (j *judge) retryDue(e engine.Event, p place, a *engine.Attempt, policy workflow.Policy, tries, losses int) (due, sure bool) {
	r := policy.Retry
	switch a.Verdict {
	case workflow.VerdictInterrupted:
		if e.Outcome.Kind != engine.OutcomeEvicted || losses > r.MaxLost {
			return false, true
		}
		return j.beforeDeadline(e, p, policy, a, tries, losses)
	case workflow.VerdictLost:
		if losses > r.MaxLost {
			return false, true
		}
		return j.beforeDeadline(e, p, policy, a, tries, losses)
	case workflow.VerdictError:
		if e.Outcome.Kind == engine.OutcomeInvalid {
			return false, true
		}
	}
	if len(r.OnExitCodes) > 0 && a.Verdict == workflow.VerdictFailed && a.ExitCode != nil {
		if *a.ExitCode == 0 {
			return false, false // its output was wrong: an exit code in letter, not in spirit
		}
		if !slices.Contains(r.OnExitCodes, *a.ExitCode) {
			return false, true
		}
	}
	if r.When != nil {
		yes, ok := j.w.retryWhen(j.s, p, a, *r.When)
		if !ok || !yes {
			return false, true
		}
	}
	if tries >= r.MaxAttempts {
		return false, true
	}
	return j.beforeDeadline(e, p, policy, a, tries, losses)
}

// beforeDeadline: a wait that would pass the deadline is not begun.
func (j *judge) beforeDeadline(e engine.Event, p place, policy workflow.Policy, a *engine.Attempt, tries, losses int) (due, sure bool) {
	if policy.Deadline == 0 {
		return true, true
	}
	end := j.s.Instances[p.task][p.instance].FirstStart.Add(policy.Deadline)
	now := j.paused.active(e.At)
	low, high := j.waits(policy.Retry, a, tries, losses, e.Random)
	switch {
	case now.Add(high) < end:
		return true, true
	case now.Add(low) > end:
		return false, true
	}
	return false, false
}

// waits bounds the delay before the next try; which try it is may be counted over tries alone or over all attempts.
func (j *judge) waits(r workflow.Retry, a *engine.Attempt, tries, losses int, random float64) (low, high time.Duration) {
	of := func(n int) time.Duration {
		if r.Backoff == workflow.BackoffConstant || n < 1 {
			return min(r.Delay, r.MaxDelay)
		}
		d := float64(r.Delay) * math.Pow(2, float64(n-1))
		return time.Duration(min(d, float64(r.MaxDelay)))
	}
	low, high = of(tries), of(tries)
	if a.Verdict == workflow.VerdictLost || a.Verdict == workflow.VerdictInterrupted {
		low, high = of(1), of(tries+losses)
	}
	jitter := func(d time.Duration) time.Duration {
		return d + time.Duration(float64(d)*r.Jitter*random)
	}
	slack := time.Millisecond
	return max(0, jitter(low)-slack), jitter(high) + slack
}

// retryWhen evaluates retry.when over how the attempt ended.
func (w *world) retryWhen(s *engine.State, p place, a *engine.Attempt, when workflow.Expr) (yes, ok bool) {
	scope := w.scope(s, p.task)
	scope.Attempt = &workflow.AttemptValues{
		Number: a.Number, Ended: true, ExitCode: a.ExitCode, Signal: a.Signal, OOM: a.OOM, Reason: string(a.Verdict), Message: a.Message,
	}
	v, err := w.eval.Evaluate(when, scope)
	if err != nil {
		return false, false
	}
	return v.Bool()
}

// effective is the policy that holds for an attempt: the task's own with what is evaluated laid over it.
func (w *world) effective(s *engine.State, in *engine.Instance, p place, number int) workflow.Policy {
	policy := w.def.Tasks[p.task].Policy
	for _, d := range w.def.Tasks[p.task].Dynamic {
		if workflow.PerTaskAttr(d.Attr) {
			continue
		}
		scope := w.scope(s, p.task)
		scope.Attempt = &workflow.AttemptValues{Number: number}
		v, err := w.eval.Evaluate(d.Expr, scope)
		if err == nil {
			err = policy.Set(d.Attr, v)
		}
		if err != nil {
			w.fail("%s[%d] has an attempt and its %s is an error: %v", w.def.Tasks[p.task].Name, p.instance, d.Attr, err)
		}
	}
	if w.def.Tasks[p.task].Kind == workflow.KindFinally && policy.Timeout == 0 {
		policy.Timeout = workflow.FinallyTimeout
	}
	return policy
}

// renderBody is what the body of a start must be, from the task's view alone.
func (w *world) renderBody(s *engine.State, st *engine.Start) string {
	at := place{st.TaskNo, st.Instance}
	if key := w.keyOf(s, at.task, at.instance); key != st.Key {
		return "the key " + key
	}
	v, err := w.eval.Evaluate(*w.def.Tasks[st.TaskNo].Body, w.instanceScope(s, at, st.Number))
	if err != nil {
		return "an error: " + err.Error()
	}
	return string(v.JSON)
}

func (w *world) eachValue(s *engine.State, n, i int) workflow.Value {
	if w.def.Tasks[n].Shape() == workflow.ShapeList {
		return workflow.Value{JSON: json.RawMessage(encoded(i))}
	}
	if e := s.Expansions[n]; e != nil {
		if position := positionOf(s, n, i); position >= 0 && position < len(e.Values) {
			return e.Values[position]
		}
	}
	return workflow.Value{}
}
