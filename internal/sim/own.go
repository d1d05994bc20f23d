// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// ownBody is an approval or a wait as its definition has it.
type ownBody struct {
	due       workflow.Time // 0: never
	approve   bool          // on timeout
	approvers []string
	err       error
}

func isOwn(k workflow.BodyKind) bool { return k == workflow.BodyApproval || k == workflow.BodyWait }

// own reads the body of the attempt in flight of an approval or a wait, from its definition.
func (w *world) own(s *engine.State, at place) ownBody {
	in := s.Instances[at.task][at.instance]
	since := s.Head.LastAt
	if in.Current != nil {
		since = in.Current.IntentSince
	}
	return w.ownAt(s, at, since)
}

func (w *world) ownAt(s *engine.State, at place, since workflow.Time) ownBody {
	def := &w.def.Tasks[at.task]
	v, err := w.eval.Evaluate(*def.Body, w.instanceScope(s, at, 1))
	if err != nil {
		return ownBody{err: err}
	}
	var b struct {
		Timeout, Duration, Until int64
		OnTimeout                string `json:"on_timeout"`
		Approvers                []string
	}
	if err := json.Unmarshal(v.JSON, &b); err != nil {
		return ownBody{err: err}
	}
	out := ownBody{approvers: b.Approvers, approve: b.OnTimeout == "approve"}
	switch {
	case def.BodyKind == workflow.BodyApproval && out.approve == (b.OnTimeout == "reject"), b.Duration < 0, b.Timeout < 0:
		out.err = fmt.Errorf("the body means nothing: %s", v.JSON)
	case b.Until > 0:
		out.due = workflow.Time(b.Until)
	case def.BodyKind == workflow.BodyWait:
		out.due = since + workflow.Time(b.Duration)
	case b.Timeout > 0:
		out.due = since + workflow.Time(b.Timeout)
	case def.Kind == workflow.KindFinally: // nothing in finally waits for ever
		out.due = since.Add(workflow.FinallyTimeout)
	}
	return out
}

// instanceScope is what the body of an attempt may read.
func (w *world) instanceScope(s *engine.State, at place, number int) workflow.Scope {
	scope := w.cachedScope(s, at.task)
	scope.Attempt = &workflow.AttemptValues{Number: number}
	if w.def.Tasks[at.task].Shape() != workflow.ShapePlain {
		scope.Each = &workflow.Each{
			Key: w.keyOf(s, at.task, at.instance), Index: positionOf(s, at.task, at.instance), Value: w.eachValue(s, at.task, at.instance),
		}
	}
	return scope
}

// expectInputs is what an approval makes of what somebody typed; good is false when it is not enough, or too much.
func expectInputs(w *world, task int, values map[string]workflow.Value) (out map[string]string, good bool) {
	out = map[string]string{}
	named := map[string]bool{}
	for _, o := range w.def.Tasks[task].Outputs {
		if o.Name == "by" || o.Name == "comment" {
			continue
		}
		named[o.Name] = true
		v, ok := values[o.Name]
		if !ok || v.Null() {
			if o.Default == nil {
				return nil, false
			}
			continue
		}
		got, err := convert(o.Type.Text, &v)
		if err != nil {
			return nil, false
		}
		out[o.Name] = string(got.JSON)
	}
	for name := range values {
		if !named[name] {
			return nil, false
		}
	}
	return out, true
}

// checkOwnVerdict holds the end of an approval or a wait: somebody who may decided, or its time has come, or it was ended.
func (j *judge) checkOwnVerdict(e engine.Event, p place) {
	w, s := j.w, j.s
	in, def := s.Instances[p.task][p.instance], &w.def.Tasks[p.task]
	a := in.Past[len(in.Past)-1]
	own := w.ownAt(s, p, a.StartedAt)
	name := fmt.Sprintf("%s[%d]#%d", def.Name, p.instance, a.Number)
	passed := own.due != 0 && e.At >= own.due
	mine := e.Task == p.task && max(e.Instance, 0) == p.instance
	allowed := len(own.approvers) == 0 || slices.Contains(own.approvers, e.By)
	values, good := expectInputs(w, p.task, e.Values)
	// What does not fit is dropped: then its time has come, and nobody decided.
	decided := mine && (!passed || allowed && (good || e.Kind == engine.Reject))
	w.stats.hit(string(def.BodyKind) + " " + string(a.Verdict))
	want := map[workflow.Verdict]workflow.Status{
		workflow.VerdictSucceeded: workflow.Succeeded, workflow.VerdictFailed: workflow.Failed, workflow.VerdictCancelled: workflow.Cancelled,
	}[a.Verdict]
	switch {
	case own.err != nil:
		w.fail("%s has a verdict and its body is an error: %v", name, own.err)
	case a.Verdict == workflow.VerdictCancelled:
		byHand := (e.Kind == engine.CancelTask || e.Kind == engine.SkipTask || e.Kind == engine.SucceedTask) && e.Task == p.task
		if !w.cut(s, p.task) && !byHand {
			w.fail("%s was cancelled by %s, and nothing asks for that", name, describe(w, e))
		}
		if g := given(s, p.task, p.instance); g != nil {
			want = g.Status
		}
	case def.BodyKind == workflow.BodyWait:
		if a.Verdict != workflow.VerdictSucceeded || !passed {
			w.fail("%s ended as %s at %d, it waits until %d", name, a.Verdict, e.At, own.due)
		}
	case e.Kind == engine.Approve && decided:
		if a.Verdict != workflow.VerdictSucceeded || !good || !allowed {
			w.fail("%s ended as %s (%s) by %s of %s", name, a.Verdict, a.Message, describe(w, e), e.By)
		}
		values["by"], values["comment"] = encoded(e.By), encoded(e.Reason)
		for k, v := range values {
			if string(a.Outputs[k].JSON) != v {
				w.fail("%s has the output %s = %s, want %s", name, k, a.Outputs[k].JSON, v)
			}
		}
	case e.Kind == engine.Reject && decided:
		if a.Verdict != workflow.VerdictFailed || !allowed {
			w.fail("%s was rejected by %s and ended as %s", name, e.By, a.Verdict)
		}
	default:
		_, good := expectInputs(w, p.task, nil)
		if approved := a.Verdict == workflow.VerdictSucceeded; !passed || approved != (own.approve && good) {
			w.fail("%s ended as %s by %s; its time is %d", name, a.Verdict, describe(w, e), own.due)
		}
		w.stats.hit("approval timed out")
	}
	if in.Status != want {
		w.fail("%s ended as %s and its instance is %s, want %s", name, a.Verdict, in.Status, want)
	}
}
