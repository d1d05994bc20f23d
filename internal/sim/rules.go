// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"slices"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// fact is what a trigger rule may know of one predecessor.
type fact struct {
	status  workflow.Status
	allowed bool // failed, and allowed to
	branch  bool // skipped, and its branch with it
}

func (f fact) bad() bool { return f.status.Bad() && !(f.status == workflow.Failed && f.allowed) }

type decision string

// What a rule says.
const (
	ruleWaits decision = "waits"
	ruleRuns  decision = "runs"
	ruleSkips decision = "skips"
	ruleOmits decision = "omits"
)

// decide is the table "When a task starts" of the semantics, read row by row. It may return two answers where the order in
// which facts became known decides (a skipped branch beside a bad predecessor).
func decide(rule workflow.TriggerRule, facts []fact) []decision {
	count := func(is func(fact) bool) int {
		n := 0
		for _, f := range facts {
			if is(f) {
				n++
			}
		}
		return n
	}
	terminal := count(func(f fact) bool { return f.status.Terminal() }) == len(facts)
	failed := count(func(f fact) bool { return f.status == workflow.Failed })
	switch rule {
	case workflow.AllSuccess:
		bad, branch := count(fact.bad) > 0, count(func(f fact) bool { return f.status == workflow.Skipped && f.branch }) > 0
		switch {
		case bad && branch:
			return []decision{ruleOmits, ruleSkips}
		case bad:
			return []decision{ruleOmits}
		case branch:
			return []decision{ruleSkips}
		case terminal:
			return []decision{ruleRuns}
		}
	case workflow.NoneFailed:
		switch {
		case count(fact.bad) > 0:
			return []decision{ruleOmits}
		case terminal:
			return []decision{ruleRuns}
		}
	case workflow.AllDone:
		if terminal {
			return []decision{ruleRuns}
		}
	case workflow.OneSuccess:
		switch {
		case count(func(f fact) bool { return f.status == workflow.Succeeded }) > 0:
			return []decision{ruleRuns}
		case terminal && count(func(f fact) bool { return f.status.Bad() }) > 0:
			return []decision{ruleOmits}
		case terminal:
			return []decision{ruleSkips}
		}
	case workflow.OneFailed:
		switch {
		case failed > 0:
			return []decision{ruleRuns}
		case terminal:
			return []decision{ruleSkips}
		}
	case workflow.AllFailed:
		switch {
		case count(func(f fact) bool { return f.status.OK() }) > 0:
			return []decision{ruleSkips}
		case terminal && failed > 0:
			return []decision{ruleRuns}
		case terminal:
			return []decision{ruleOmits}
		}
	}
	return []decision{ruleWaits}
}

// factOf reads what a rule may know of task p.
func (w *world) factOf(s *engine.State, p int) fact {
	t := s.Tasks[p]
	return fact{status: t.Status, allowed: w.allowed(s, p), branch: t.SkipBranch}
}

// allowed reports whether a failure of task p is allowed.
func (w *world) allowed(s *engine.State, p int) bool {
	for _, d := range w.def.Tasks[p].Dynamic {
		if d.Attr == "allow_failure" {
			return s.Tasks[p].AllowFailure
		}
	}
	return w.def.Tasks[p].Policy.AllowFailure
}

// viewFacts are the facts that task n's rule saw when it was met: what is listed as unseen was not over then.
func (w *world) viewFacts(s *engine.State, n int) []fact {
	var facts []fact
	for _, p := range w.graph.Rule(n) {
		f := w.factOf(s, p)
		if slices.Contains(s.Tasks[n].Unseen, p) {
			f = fact{status: workflow.Pending}
		}
		facts = append(facts, f)
	}
	return facts
}

// spared reports whether drain and fail_fast spare task n: a handler below a failed task, or a task all of whose edges come
// from such. Strictly, only handlers that ran count for what is below them; the semantics leave the others open.
func (w *world) spared(s *engine.State, n int, strict bool) bool {
	switch w.def.Tasks[n].TriggerRule {
	case workflow.OneFailed, workflow.AllFailed, workflow.AllDone:
		for _, p := range w.graph.Rule(n) {
			if s.Tasks[p].Status == workflow.Failed {
				return true
			}
		}
	}
	edges := w.graph.Predecessors(n)
	for _, p := range edges {
		if !w.spared(s, p, strict) || strict && s.Tasks[p].BeganAt == 0 {
			return false
		}
	}
	return len(edges) > 0
}

// recovered reports whether a handler of task n cleared its failure: a direct dependent with recovers that succeeded, and
// that began after n was over.
func (w *world) recovered(s *engine.State, n int) bool {
	for _, d := range w.graph.Dependents(n) {
		t := &w.def.Tasks[d]
		if !t.Recovers || !t.TriggerRule.Handler() || s.Tasks[d].Status != workflow.Succeeded {
			continue
		}
		if slices.Contains(w.graph.Rule(d), n) && !slices.Contains(s.Tasks[d].Unseen, n) {
			return true
		}
	}
	return false
}

// scope builds what the expressions of task n may read, from the final word on every predecessor that its view holds.
func (w *world) scope(s *engine.State, n int) workflow.Scope {
	t := &w.def.Tasks[n]
	shared := &workflow.Shared{
		Run: workflow.RunValues{
			ID: string(s.Input.Run), Workflow: s.Input.Workflow, Version: s.Input.Definition, Namespace: s.Input.Namespace,
			Trigger: s.Input.Trigger, ScheduledAt: s.Input.ScheduledAt, StartedAt: s.Head.StartedAt,
		},
		Params: s.Input.Params,
		Tasks:  map[string]*workflow.TaskValues{},
	}
	if t.Kind == workflow.KindFinally {
		shared.Run.Status = s.Head.Verdict
		shared.Run.FailedTasks = w.failedTasks(s)
	}
	for _, name := range t.Refs {
		p, _ := w.graph.Number(name)
		shared.Tasks[name] = w.taskValues(s, p, slices.Contains(s.Tasks[n].Unseen, p))
	}
	return workflow.Scope{Shared: shared}
}

// taskValues is what task p reads as.
func (w *world) taskValues(s *engine.State, p int, unseen bool) *workflow.TaskValues {
	def, t := &w.def.Tasks[p], s.Tasks[p]
	v := &workflow.TaskValues{Shape: def.Shape(), Status: t.Status}
	n := t.Size
	if def.Shape() == workflow.ShapePlain {
		n = 1
	}
	if unseen {
		v.Status = workflow.Pending
		if def.Shape() != workflow.ShapePlain {
			n = 0
		}
	}
	for position := range n {
		i := numberAt(s, p, position)
		in := workflow.InstanceValues{Key: w.keyOf(s, p, i), Status: v.Status, Outputs: map[string]workflow.Value{}}
		if def.Shape() != workflow.ShapePlain {
			in.Status = instanceStatus(s, p, i)
		}
		for _, o := range def.Outputs {
			out := workflow.Value{}
			if o.Default != nil {
				out = *o.Default
			}
			if unseen {
				out = workflow.Value{}
			}
			if in.Status == workflow.Succeeded && !unseen {
				if got, ok := written(s, p, i)[o.Name]; ok {
					out = got
				}
			}
			in.Outputs[o.Name] = out
		}
		v.Instances = append(v.Instances, in)
	}
	return v
}
