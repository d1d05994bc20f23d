// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// past is what the saved events say happened to the run as a whole, in one generation or in several.
type past struct {
	stopped    bool // by stop or terminate
	terminated bool
	skipped    bool
	endings    map[engine.Ending]bool
	cancelled  map[int]bool // tasks that a verb named while they were open
	begun      bool
}

func newPast() past {
	return past{endings: map[engine.Ending]bool{}, cancelled: map[int]bool{}}
}

func (p *past) add(o past) {
	p.stopped, p.terminated, p.skipped, p.begun = p.stopped || o.stopped, p.terminated || o.terminated, p.skipped || o.skipped, p.begun || o.begun
	maps.Copy(p.endings, o.endings)
	maps.Copy(p.cancelled, o.cancelled)
}

// recall reads the journal: what happened in each generation, and in which one the run was last taken up after its end.
func (w *world) recall(s *engine.State) (all map[int]past, revived int) {
	all, revived = map[int]past{}, 1
	of := func(generation int) past {
		if _, ok := all[generation]; !ok {
			all[generation] = newPast()
		}
		return all[generation]
	}
	for k, j := range w.history {
		p := of(j.generation)
		after := s.Head.Generation
		if k+1 < len(w.history) {
			after = w.history[k+1].generation
		}
		if after > j.generation && j.before.Terminal() {
			revived = after
		}
		p.endings[j.ending] = true
		p.begun = p.begun || j.begun
		if !j.before.Terminal() {
			switch j.event.Kind {
			case engine.Stop:
				p.stopped = p.stopped || j.before != workflow.RunStopping && j.ending != engine.EndingSkip
			case engine.Terminate:
				if j.ending != engine.EndingSkip {
					p.stopped, p.terminated = true, true
				}
			case engine.SkipRun:
				p.skipped = p.skipped || j.before == workflow.RunQueued && j.generation == 1
			case engine.CancelTask:
				if j.open {
					p.cancelled[j.event.Task] = true
				}
			}
		}
		all[j.generation] = p
	}
	p := of(s.Head.Generation)
	p.endings[s.Head.Ending] = true
	p.begun = p.begun || s.Head.StartedAt != 0
	all[s.Head.Generation] = p
	return all, revived
}

// since is what happened from a generation on.
func since(all map[int]past, generation, last int) past {
	out := newPast()
	for g := max(1, generation); g <= last; g++ {
		if p, ok := all[g]; ok {
			out.add(p)
		}
	}
	return out
}

// judgeEnd compares how everything ended with what the rules make of it.
func (w *world) judgeEnd(s *engine.State) {
	all, revived := w.recall(s)
	for n, t := range s.Tasks {
		w.judgeTask(s, n, since(all, t.Generation, s.Head.Generation))
	}
	w.judgeRun(s, since(all, revived, s.Head.Generation), since(all, 1, s.Head.Generation))
}

func (w *world) judgeTask(s *engine.State, n int, p past) {
	t, def := s.Tasks[n], &w.def.Tasks[n]
	w.stats.hit("task " + string(t.Status))
	w.stats.hit("rule " + string(def.TriggerRule) + ": " + string(t.Status))
	if g := t.Given; g != nil && !g.Next {
		if t.Status != g.Status && !(g.Status == workflow.Skipped && t.Status == workflow.Succeeded && t.Expanded && t.Size > 1) {
			w.fail("task %s was decided by hand to be %s and is %s (%s)", def.Name, g.Status, t.Status, t.Reason)
		}
		w.stats.hit("by hand " + string(t.Status))
		return
	}
	if t.BeganAt == 0 {
		w.judgeUnbegun(s, n, p)
		return
	}
	if got := decide(def.TriggerRule, w.viewFacts(s, n)); got[0] != ruleRuns {
		w.fail("task %s ran and its rule %s %s over %v", def.Name, def.TriggerRule, got[0], w.viewFacts(s, n))
	}
	want, size := w.expectStart(s, n)
	if want != nil {
		if !slices.Contains(want, t.Status) {
			w.fail("task %s is %s (%s), want %v: when or for_each decides", def.Name, t.Status, t.Reason, want)
		}
		branch := t.Status == workflow.Skipped && def.WhenFalse == workflow.WhenFalseSkipBranch && size != 0
		if t.SkipBranch != branch {
			w.fail("task %s is %s (%s) with skip_branch %t", def.Name, t.Status, t.Reason, t.SkipBranch)
		}
		return
	}
	if t.Size != size && t.Expanded {
		w.fail("task %s has %d instances, want %d", def.Name, t.Size, size)
	}
	if !t.Expanded {
		w.fail("task %s is %s and was not expanded, want %d instances", def.Name, t.Status, size)
	}
	w.judgeInstances(s, n, p)
}

// judgeUnbegun explains a task whose rule was never met, or that had no chance any more.
func (w *world) judgeUnbegun(s *engine.State, n int, p past) {
	t, def := s.Tasks[n], &w.def.Tasks[n]
	var facts []fact
	for _, e := range w.graph.Rule(n) {
		facts = append(facts, w.factOf(s, e))
	}
	var want []workflow.Status
	decided := decide(def.TriggerRule, facts)
	for _, d := range decided {
		switch d {
		case ruleOmits:
			want = append(want, workflow.Omitted)
		case ruleSkips:
			want = append(want, workflow.Skipped)
		}
	}
	if def.Kind == workflow.KindTask {
		if (p.endings[engine.EndingDrain] || p.endings[engine.EndingFailFast]) && !w.spared(s, n, true) {
			want = append(want, workflow.Omitted)
		}
		if p.stopped || p.endings[engine.EndingTimeout] {
			want = append(want, workflow.Cancelled)
		}
	} else if p.terminated || !p.begun || p.stopped && s.Head.StartedAt == 0 {
		want = append(want, workflow.Cancelled)
	}
	if p.skipped {
		want = append(want, workflow.Omitted)
	}
	if !slices.Contains(want, t.Status) {
		w.fail("task %s never began and is %s (%s), want %v: its rule %s %v over %v; endings %v",
			def.Name, t.Status, t.Reason, want, def.TriggerRule, decided, facts, p.endings)
	}
	if branch := t.Status == workflow.Skipped && def.TriggerRule == workflow.AllSuccess; t.SkipBranch != branch {
		w.fail("task %s is %s (%s) with skip_branch %t", def.Name, t.Status, t.Reason, t.SkipBranch)
	}
}

// expectStart evaluates what decides about a task before it has instances. Without statuses, it goes on with size
// instances. size is 0 for an empty fan-out.
func (w *world) expectStart(s *engine.State, n int) (want []workflow.Status, size int) {
	def := &w.def.Tasks[n]
	scope := w.scope(s, n)
	broken := false
	for _, d := range def.Dynamic {
		if workflow.PerTaskAttr(d.Attr) {
			v, err := w.eval.Evaluate(d.Expr, scope)
			policy := def.Policy
			broken = broken || err != nil || policy.Set(d.Attr, v) != nil
		}
	}
	failed := []workflow.Status{workflow.Failed}
	if def.When != nil {
		v, err := w.eval.Evaluate(*def.When, scope)
		yes, ok := v.Bool()
		switch {
		case err != nil || !ok:
			return failed, -1
		case !yes && broken:
			return append(failed, workflow.Skipped), -1
		case !yes:
			return []workflow.Status{workflow.Skipped}, -1
		}
	}
	if broken {
		return failed, -1
	}
	if def.Shape() == workflow.ShapePlain {
		return nil, 1
	}
	keys, ok := w.expand(def, scope)
	if !ok {
		return failed, -1
	}
	if len(keys) == 0 {
		return []workflow.Status{workflow.Skipped}, 0
	}
	if e := s.Expansions[n]; e != nil && !slices.Equal(e.Keys, keys) {
		w.fail("task %s has the instances %v, want %v", def.Name, e.Keys, keys)
	}
	return nil, len(keys)
}

// expand gives the keys of a fan-out in their order: sets and maps by key, lists and count by position.
func (w *world) expand(def *workflow.Task, scope workflow.Scope) (keys []string, ok bool) {
	expr := def.Count
	if expr == nil {
		expr = def.ForEach
	}
	v, err := w.eval.Evaluate(*expr, scope)
	if err != nil {
		return nil, false
	}
	if def.Count != nil {
		n, isNumber := decode(v).(float64)
		if !isNumber || n < 0 || n != math.Trunc(n) || n > workflow.MaxInstances {
			return nil, false
		}
		for i := range int(n) {
			keys = append(keys, encoded(i))
		}
		return keys, true
	}
	switch all := decode(v).(type) {
	case map[string]any:
		for k := range all {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if def.Key != nil {
			return nil, false
		}
	case []any:
		if keys, ok = w.elementKeys(def, scope, all); !ok {
			return nil, false
		}
	default:
		return nil, false
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k] || len(k) > workflow.MaxKeyBytes {
			return nil, false
		}
		seen[k] = true
	}
	return keys, true
}

func (w *world) elementKeys(def *workflow.Task, scope workflow.Scope, all []any) (keys []string, ok bool) {
	for i, x := range all {
		k := x
		if def.Key != nil {
			scope.Each = &workflow.Each{Index: i, Value: workflow.Value{JSON: json.RawMessage(encoded(x))}}
			v, err := w.eval.Evaluate(*def.Key, scope)
			if err != nil {
				return nil, false
			}
			k = decode(v)
		}
		text, isText := k.(string)
		if !isText {
			return nil, false
		}
		keys = append(keys, text)
	}
	if def.Key == nil {
		slices.Sort(keys)
	}
	return keys, true
}

func (w *world) keyOf(s *engine.State, n, i int) string {
	switch w.def.Tasks[n].Shape() {
	case workflow.ShapeList:
		return encoded(i)
	case workflow.ShapeMap:
		if position := positionOf(s, n, i); s.Expansions[n] != nil && position >= 0 && position < len(s.Expansions[n].Keys) {
			return s.Expansions[n].Keys[position]
		}
	}
	return ""
}

// judgeInstances holds each instance against its attempts, and the task against its instances.
func (w *world) judgeInstances(s *engine.State, n int, p past) {
	t, def := s.Tasks[n], &w.def.Tasks[n]
	count, tried := map[workflow.Status]int{}, false
	for position := range t.Size {
		i := numberAt(s, n, position)
		st := instanceStatus(s, n, i)
		count[st]++
		tried = tried || i < len(s.Instances[n]) && len(life(s, n, s.Instances[n][i])) > 0
		w.judgeInstance(s, place{n, i}, st, p)
	}
	need := w.needed(s, n)
	want := workflow.Omitted
	switch {
	case count[workflow.Succeeded]+count[workflow.Skipped] >= need:
		if want = workflow.Succeeded; count[workflow.Skipped] == t.Size {
			want = workflow.Skipped
		}
	case count[workflow.Failed] > 0:
		want = workflow.Failed
	case count[workflow.Cancelled] > 0 || tried:
		want = workflow.Cancelled
	}
	if t.Status != want {
		w.fail("task %s is %s (%s), its instances are %v, %d must succeed: want %s", def.Name, t.Status, t.Reason, count, need, want)
	}
	if def.Shape() != workflow.ShapePlain {
		w.stats.hit("fan-out " + string(def.Shape()) + " " + string(t.Status))
		if want == workflow.Succeeded && count[workflow.Succeeded]+count[workflow.Skipped] < t.Size {
			w.stats.hit("fan-out succeeded by min_success")
		}
	}
	// Instances that never began in a task that could go on, and nothing ends it.
	spared := w.spared(s, n, true) || def.Kind == workflow.KindFinally
	ended := p.stopped || p.endings[engine.EndingTimeout] || !spared && (p.endings[engine.EndingDrain] || p.endings[engine.EndingFailFast])
	if count[workflow.Omitted] > 0 && !ended && want == workflow.Succeeded {
		w.fail("task %s succeeded and %d instances are omitted", def.Name, count[workflow.Omitted])
	}
}

func (w *world) needed(s *engine.State, n int) int {
	def := &w.def.Tasks[n]
	policy := def.Policy
	for _, d := range def.Dynamic {
		if d.Attr == "min_success" {
			if v, err := w.eval.Evaluate(d.Expr, w.scope(s, n)); err != nil || policy.Set(d.Attr, v) != nil {
				w.fail("task %s began and its min_success is an error", def.Name)
			}
		}
	}
	size, m := s.Tasks[n].Size, policy.MinSuccess
	switch {
	case m.Number > 0:
		return min(m.Number, size)
	case m.Percent > 0:
		return min(size, int(math.Ceil(float64(size)*m.Percent/100-1e-9)))
	}
	return size
}

func (w *world) judgeInstance(s *engine.State, at place, st workflow.Status, p past) {
	def := &w.def.Tasks[at.task]
	var in *engine.Instance
	if at.instance < len(s.Instances[at.task]) {
		in = s.Instances[at.task][at.instance]
	}
	if g := given(s, at.task, at.instance); g != nil && st == g.Status {
		w.stats.hit("instance by hand " + string(st))
		return
	}
	finally := def.Kind == workflow.KindFinally
	cut := p.cancelled[at.task] || p.terminated || !finally && (p.stopped || p.endings[engine.EndingTimeout] || p.endings[engine.EndingFailFast])
	// Inside a fan-out, fail_fast cancels what runs once success is impossible.
	cut = cut || w.def.OnFailure == workflow.OnFailureFailFast && def.Shape() != workflow.ShapePlain
	var last workflow.Verdict
	if in != nil && recorded(s, at.task, at.instance) {
		if mine := life(s, at.task, in); len(mine) > 0 {
			last = mine[len(mine)-1].Verdict
		} else if in.Status.OK() && len(in.Past) > 0 { // it keeps a result
			last = in.Past[len(in.Past)-1].Verdict
		}
	}
	var want []workflow.Status
	switch last {
	case workflow.VerdictSucceeded:
		want = []workflow.Status{workflow.Succeeded}
		if in.Past[len(in.Past)-1].OutputsLost {
			want = append(want, workflow.Failed)
		}
		if def.BodyKind == workflow.BodyRunWorkflow { // the child was skipped
			want = append(want, workflow.Skipped)
		}
	case workflow.VerdictCancelled:
		want = []workflow.Status{workflow.Cancelled}
	case "":
		if def.BodyKind == workflow.BodyJoin {
			want = append(want, workflow.Succeeded)
		} else if in != nil && w.cannotRender(s, at, in.Number+1) {
			want = append(want, workflow.Failed)
		}
		if cut {
			want = append(want, workflow.Cancelled)
		}
		want = append(want, workflow.Omitted) // judged by the task: nothing was possible any more
	default:
		want = []workflow.Status{workflow.Failed}
		if cut {
			want = append(want, workflow.Cancelled)
		}
	}
	if !slices.Contains(want, st) {
		reason := ""
		if in != nil {
			reason = in.Reason
		}
		w.fail("%s[%d] is %s (%s), its last verdict is %q: want %v", def.Name, at.instance, st, reason, last, want)
	}
}

// cannotRender reports whether the body, or the policy, of an attempt is an error.
func (w *world) cannotRender(s *engine.State, at place, number int) bool {
	def := &w.def.Tasks[at.task]
	if isOwn(def.BodyKind) {
		return w.ownAt(s, at, 0).err != nil
	}
	scope := w.instanceScope(s, at, number)
	for _, d := range def.Dynamic {
		if workflow.PerTaskAttr(d.Attr) {
			continue
		}
		policy := def.Policy
		v, err := w.eval.Evaluate(d.Expr, scope)
		if err != nil || policy.Set(d.Attr, v) != nil {
			return true
		}
	}
	_, err := w.eval.Evaluate(*def.Body, scope)
	return err != nil
}

// failedTasks names what makes the run failed, in declaration order.
func (w *world) failedTasks(s *engine.State) []string {
	var out []string
	for n, t := range s.Tasks {
		if w.def.Tasks[n].Kind != workflow.KindTask {
			continue
		}
		failed := t.Status == workflow.Failed || t.Status == workflow.Cancelled && t.ByHand
		if failed && !w.allowed(s, n) && !w.recovered(s, n) {
			out = append(out, w.def.Tasks[n].Name)
		}
	}
	return out
}

// judgeRun is "How a run ends: the first that holds".
func (w *world) judgeRun(s *engine.State, p, ever past) {
	h := &s.Head
	w.stats.hit("run " + string(h.Status))
	for e := range p.endings {
		if e != "" {
			w.stats.hit("ending " + string(e))
		}
	}
	for n, t := range s.Tasks {
		if t.ByHand && !ever.cancelled[n] {
			w.fail("task %s was cancelled by hand, and nobody did", w.def.Tasks[n].Name)
		}
		if t.Status == workflow.Failed && w.recovered(s, n) && w.def.Tasks[n].Kind == workflow.KindTask {
			w.stats.hit("failure recovered")
		}
	}
	want := w.expectRun(s, p)
	if !slices.Contains(want, h.Status) {
		w.fail("the run is %s (%s), want %v; stopped %t, endings %v, failed tasks %v", h.Status, h.Reason, want, p.stopped, p.endings, w.failedTasks(s))
	}
	if h.Status == workflow.RunFailed && h.Ending == engine.EndingTimeout && !strings.Contains(h.Reason, "timeout") {
		w.fail("the run failed by its timeout and its reason is %q", h.Reason)
	}
	for _, o := range w.def.Outputs {
		v, err := w.eval.Evaluate(o.Value, w.outputScope(s, &o))
		got := h.Outputs[o.Name]
		if h.StartedAt != 0 && err == nil && !same(decode(got), decode(v)) {
			w.fail("run output %s is %s, want %s", o.Name, got.JSON, v.JSON)
		}
		if err != nil && !got.Null() {
			w.fail("run output %s cannot be evaluated and is %s", o.Name, got.JSON)
		}
	}
}

func (w *world) expectRun(s *engine.State, p past) []workflow.RunStatus {
	one := func(st workflow.RunStatus) []workflow.RunStatus { return []workflow.RunStatus{st} }
	if s.Head.Ending == engine.EndingSkip {
		if !p.skipped {
			w.fail("the run was skipped and nobody asked for that")
		}
		return one(workflow.RunSkipped)
	}
	if p.stopped {
		return one(workflow.RunCancelled)
	}
	if p.endings[engine.EndingTimeout] {
		return one(workflow.RunFailed)
	}
	byHand := false
	for n, t := range s.Tasks {
		if w.def.Tasks[n].Kind != workflow.KindFinally {
			continue
		}
		if t.Status == workflow.Failed && !w.allowed(s, n) {
			return one(workflow.RunFailed)
		}
		byHand = byHand || t.Status == workflow.Cancelled && t.ByHand && !w.allowed(s, n)
	}
	if len(w.failedTasks(s)) > 0 {
		return one(workflow.RunFailed)
	}
	for _, o := range w.def.Outputs {
		if _, err := w.eval.Evaluate(o.Value, w.outputScope(s, &o)); err != nil {
			w.stats.hit("run output that cannot be evaluated")
			return one(workflow.RunFailed)
		}
	}
	if byHand { // the semantics speak of a finally task that failed, and of a task cancelled by hand
		return []workflow.RunStatus{workflow.RunSucceeded, workflow.RunFailed}
	}
	return one(workflow.RunSucceeded)
}

func (w *world) outputScope(s *engine.State, o *workflow.RunOutput) workflow.Scope {
	shared := &workflow.Shared{Params: s.Input.Params, Tasks: map[string]*workflow.TaskValues{}}
	for _, name := range o.Refs {
		p, _ := w.graph.Number(name)
		shared.Tasks[name] = w.taskValues(s, p, false)
	}
	return workflow.Scope{Shared: shared}
}
