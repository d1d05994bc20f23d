// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// judge watches one leader's state: what holds before a step, what after it, and whether the way between is allowed. It
// trusts what a load gives it; that a load gives what was live is the twin's matter.
type judge struct {
	w    *world
	s    *engine.State
	out  *ledger
	was  stamp
	size int // tasks and begun instances
	// started is when Started of the attempt in flight came in, by place.
	started map[place]startedAttempt
	paused  pauses
	why     map[workflow.AttemptID]workflow.Verdict // why attempts are killed
	dying   bool                                    // the attempt of the event under way was being killed
	// dyingBefore are the child runs that were being stopped before the step under way.
	dyingBefore map[workflow.AttemptID]bool
	held        map[place]heldAttempt
	born        map[workflow.AttemptID]workflow.Time // when attempts were admitted
	rests       map[workflow.AttemptID]bool          // child runs that came to rest in the pause that the run is in
	resets      map[int]*resetWant                   // by generation
}

type startedAttempt struct {
	number int
	at     workflow.Time
}

type heldAttempt struct {
	number int
	since  workflow.Time
}

// stamp is what the judge remembers of a state.
type stamp struct {
	generation int
	resetting  bool

	status    workflow.RunStatus
	ending    engine.Ending
	finally   bool
	verdict   workflow.RunStatus
	at        workflow.Time
	tasks     []taskStamp
	instances [][]instanceStamp
}

type taskStamp struct {
	status     workflow.Status
	began      workflow.Time
	unseen     int
	size       int
	expanded   bool
	rest       workflow.Status
	cancelling bool
	generation int
	stale      bool
	begun      int
	expansion  *engine.Expansion
}

type instanceStamp struct {
	status  workflow.Status
	number  int
	past    int
	fence   int64
	current bool
	retryAt workflow.Time
	last    workflow.Verdict
}

// pauses measures paused time, to hold timers against.
type pauses struct {
	since workflow.Time // 0: not paused
	total workflow.Time
}

func (p *pauses) active(at workflow.Time) workflow.Time {
	if p.since != 0 {
		at = p.since
	}
	return at - p.total
}

func newJudge(w *world, s *engine.State, out *ledger) *judge {
	j := &judge{
		w: w, s: s, out: out, started: map[place]startedAttempt{}, held: map[place]heldAttempt{}, born: map[workflow.AttemptID]workflow.Time{},
		why: map[workflow.AttemptID]workflow.Verdict{}, rests: map[workflow.AttemptID]bool{}, resets: maps.Clone(w.resets),
		paused: pauses{since: s.Head.PausedAt, total: workflow.Time(s.Head.PausedTotal)},
	}
	j.was.tasks = make([]taskStamp, len(s.Tasks))
	j.was.instances = make([][]instanceStamp, len(s.Tasks))
	for n, ins := range s.Instances {
		for i, in := range ins {
			if in.Current != nil && in.Current.Observed != 0 {
				j.started[place{n, i}] = startedAttempt{in.Number, in.Current.Observed}
			}
			if c := in.Current; c != nil && c.Idle > 0 && c.Idle == s.Head.Pauses && holding(s.Head.Status) {
				j.rests[workflow.MakeAttemptID(s.Input.Run, n, i, in.Number)] = true
			}
			if id := workflow.MakeAttemptID(s.Input.Run, n, i, in.Number); out.starts[id].Kind == engine.KillAttempt {
				j.why[id] = cause(in.Current)
			}
		}
	}
	w.checkVerdicts(s)
	j.mark()
	j.was.at = s.Head.LastAt
	return j
}

func stampTask(s *engine.State, n int) taskStamp {
	t := s.Tasks[n]
	return taskStamp{
		t.Status, t.BeganAt, len(t.Unseen), t.Size, t.Expanded, t.Rest, t.Cancelling != "", t.Generation, t.Stale, t.Begun, s.Expansions[n],
	}
}

// holding reports whether child runs are to be paused.
func holding(st workflow.RunStatus) bool {
	return st == workflow.RunPausing || st == workflow.RunPaused
}

func stampInstance(in *engine.Instance) instanceStamp {
	st := instanceStamp{status: in.Status, number: in.Number, past: len(in.Past), fence: in.Fence, current: in.Current != nil, retryAt: in.RetryAt}
	if st.past > 0 {
		st.last = in.Past[st.past-1].Verdict
	}
	return st
}

// mark remembers the state as it is.
func (j *judge) mark() {
	s := j.s
	j.was.status, j.was.ending, j.was.finally, j.was.verdict = s.Head.Status, s.Head.Ending, s.Head.FinallyBegun, s.Head.Verdict
	j.was.generation, j.was.resetting = s.Head.Generation, s.Head.Resetting != nil
	j.size = len(s.Tasks)
	for n := range s.Tasks {
		j.was.tasks[n] = stampTask(s, n)
		ins := j.was.instances[n][:0]
		for _, in := range s.Instances[n] {
			ins = append(ins, stampInstance(in))
		}
		j.was.instances[n] = ins
		j.size += len(ins)
	}
}

// step lets the engine fold one event and holds everything that must hold about it.
func (l *leader) step(e engine.Event) []engine.Command {
	w, j := l.w, l.judge
	w.steps++
	if w.verbose {
		w.logf("leader %d: %s", l.epoch, describe(w, e))
	}
	j.foresee(e)
	commands := w.machine.Step(l.state, e)
	if w.verbose {
		for _, c := range commands {
			w.logf("    %s", describeCommand(w, c))
		}
	}
	j.dying = l.out.starts[e.Attempt].Kind == engine.KillAttempt
	l.out.answer(e)
	for _, c := range commands {
		if c.Kind == engine.Proceed {
			w.stats.hit("cascade over several steps")
		}
		if err := l.out.follow(e, c); err != nil {
			w.fail("after %s: %v", describe(w, e), err)
		}
	}
	j.observe(e)
	j.check(e, commands, l.out.proceed)
	if j.often() {
		j.checkPrompt(e, l.out.proceed)
		if d := l.out.differs(w.machine.Outstanding(l.state)); d != "" {
			w.fail("after %s: outstanding is not what was issued and not answered: %s", describe(w, e), d)
		}
	}
	j.mark()
	j.was.at = e.At
	if l.twin != nil {
		l.twin.step(e, commands)
	}
	if w.verbose {
		w.logf("    run %s%s", l.state.Head.Status, describeTasks(w, l.state))
	}
	return commands
}

// often is true always for small states and now and then for large ones.
func (j *judge) often() bool { return j.size < 200 || j.w.r.IntN(j.size/20) == 0 }

// refresh is called when all is saved: now and then a twin is loaded.
func (l *leader) refresh() {
	w, j := l.w, l.judge
	if l.deposed {
		return
	}
	p := 0.3
	if j.size > 60 {
		p = 15 / float64(j.size)
		if l.twin != nil && w.r.IntN(30) == 0 {
			l.twin = nil
		}
	}
	if w.chance(p) {
		w.stats.hit("reload compared")
		l.twin = newTwin(w, l.state)
	}
}

// observe notes what the judge itself needs to know of an event.
func (j *judge) observe(e engine.Event) {
	_, task, instance, number, err := e.Attempt.Parse()
	if e.Attempt == "" || err != nil {
		return
	}
	p := place{task, instance}
	if task >= len(j.was.instances) || instance >= len(j.was.instances[task]) {
		return
	}
	was := j.was.instances[task][instance]
	if !was.current || was.number != number {
		return
	}
	switch e.Kind {
	case engine.Started:
		if j.started[p].number != number {
			j.started[p] = startedAttempt{number, e.At}
			if j.w.def.Tasks[task].BodyKind == workflow.BodyRunWorkflow { // it stands still with its parent
				j.started[p] = startedAttempt{number, j.paused.active(e.At)}
			}
		}
		delete(j.held, p)
	case engine.ChildPaused, engine.ChildResumed:
		if holding(j.was.status) && j.w.def.Tasks[task].BodyKind == workflow.BodyRunWorkflow {
			j.rests[e.Attempt] = e.Kind == engine.ChildPaused
		}
	case engine.Held:
		if !e.Impossible {
			delete(j.held, p)
		} else if j.held[p].number != number {
			j.held[p] = heldAttempt{number, e.At}
		}
	}
}

// check holds what every step must keep.
func (j *judge) check(e engine.Event, commands []engine.Command, more bool) {
	w, s := j.w, j.s
	if e.At < j.was.at {
		w.fail("the clock of the run went back")
	}
	if j.was.status.Terminal() && s.Head.Generation == j.was.generation {
		j.checkOver(e, commands)
		return
	}
	j.checkPause(e)
	j.checkReset(e)
	changed := 0
	inflight := 0
	for n := range s.Tasks {
		now, was := stampTask(s, n), j.was.tasks[n]
		plain := w.def.Tasks[n].Shape() == workflow.ShapePlain // its instance shares the record of the task
		if now != was {
			changed++
			j.checkTask(e, n, was)
		}
		live := 0
		for i, in := range s.Instances[n] {
			var before instanceStamp
			if i < len(j.was.instances[n]) {
				before = j.was.instances[n][i]
			}
			after := stampInstance(in)
			if after.current {
				live++
			}
			if after != before {
				if !plain || now == was {
					changed++
				}
				j.checkInstance(e, place{n, i}, before, after)
			}
			if e.Kind == engine.Tick || j.size < 100 {
				j.checkTimers(e, place{n, i}, more)
			}
		}
		if m := s.Tasks[n].MaxParallel; m > 0 && live > m {
			w.fail("after %s: %d attempts of %s are in flight, max_parallel is %d", describe(w, e), live, w.def.Tasks[n].Name, m)
		}
		if w.counted(n) {
			inflight += live
		}
	}
	if m := w.def.MaxParallel; m > 0 && inflight > m {
		w.fail("after %s: %d attempts are in flight, max_parallel is %d", describe(w, e), inflight, m)
	}
	if changed > 500 {
		w.fail("%s changed %d records, at most 500 may", describe(w, e), changed)
	}
	j.checkStarts(e, commands)
	j.checkRun(e, commands)
}

// bounds holds what one step may save: 30 chunks of tasks (g/) and instances (t/).
func (j *judge) bounds(records []engine.Record) {
	chunks := 0
	for _, r := range records {
		if strings.HasPrefix(r.Key, "g/") || strings.HasPrefix(r.Key, "t/") {
			chunks++
		}
		if len(r.Value) > 256<<10 {
			j.w.fail("record %s has %d bytes", r.Key, len(r.Value))
		}
	}
	if chunks > 30 && j.was.status != workflow.RunQueued {
		j.w.fail("one step dirtied %d chunks, at most 30 may", chunks)
	}
}

// checkOver holds that a run that is over changes no more and asks for nothing.
func (j *judge) checkOver(e engine.Event, commands []engine.Command) {
	for _, c := range commands {
		if c.Kind != engine.Settle {
			j.w.fail("the run is over and %s made it %s", describe(j.w, e), c.Kind)
		}
	}
	s := j.s
	if s.Head.Status != j.was.status {
		j.w.fail("the run was %s and %s made it %s", j.was.status, describe(j.w, e), s.Head.Status)
	}
	for n := range s.Tasks {
		if stampTask(s, n) != j.was.tasks[n] {
			j.w.fail("the run is over and %s changed task %s", describe(j.w, e), j.w.def.Tasks[n].Name)
		}
	}
}

func (j *judge) checkPause(e engine.Event) {
	now := j.s.Head.Status
	if j.was.status.Terminal() {
		j.paused = pauses{}
	}
	if holding(now) && !holding(j.was.status) {
		clear(j.rests)
	}
	switch {
	case now == workflow.RunPaused && j.was.status != workflow.RunPaused:
		j.paused.since = e.At
		j.w.stats.hit("run paused")
	case now != workflow.RunPaused && j.was.status == workflow.RunPaused:
		j.paused.total += e.At - j.paused.since
		j.paused.since = 0
	}
}

// checkTask holds what a task may do in a step.
func (j *judge) checkTask(e engine.Event, n int, was taskStamp) {
	w, s := j.w, j.s
	t, def := s.Tasks[n], &w.def.Tasks[n]
	if j.resetNow(n) { // whether it may be is checkReset's matter
		was = taskStamp{generation: was.generation, stale: was.stale || t.Stale, begun: was.begun, expansion: was.expansion, size: was.size}
	}
	if x := s.Expansions[n]; x != was.expansion && was.expansion != nil {
		j.checkExpansion(n, was.expansion, x, was.begun)
	}
	switch {
	case was.expansion != nil && s.Expansions[n] != was.expansion && t.BeganAt == was.began:
		w.fail("task %s was expanded anew by %s and did not begin", def.Name, describe(w, e))
	case was.status.Terminal() && t.Status != was.status:
		w.fail("task %s was %s and %s made it %s", def.Name, was.status, describe(w, e), t.Status)
	case was.began != 0 && (t.BeganAt != was.began || len(t.Unseen) != was.unseen):
		w.fail("the view of task %s changed after %s", def.Name, describe(w, e))
	case was.expanded && !was.stale && (!t.Expanded || t.Size != was.size):
		w.fail("the expansion of task %s changed after %s", def.Name, describe(w, e))
	case was.rest != "" && t.Rest != was.rest:
		w.fail("the rest of task %s was %s and is %s", def.Name, was.rest, t.Rest)
	}
	if was.began == 0 && t.BeganAt != 0 {
		j.checkBegin(e, n)
	}
	if t.Status.Terminal() {
		for position := range t.Size {
			i := numberAt(s, n, position)
			if st := instanceStatus(s, n, i); !st.Terminal() {
				w.fail("task %s is %s while its instance %d is %s", def.Name, t.Status, i, st)
			}
		}
	}
}

// checkBegin holds a task's rule against what was over when it was met.
func (j *judge) checkBegin(e engine.Event, n int) {
	w, s := j.w, j.s
	t, def := s.Tasks[n], &w.def.Tasks[n]
	for _, p := range w.graph.Predecessors(n) {
		switch unseen := slices.Contains(t.Unseen, p); {
		case unseen && j.was.tasks[p].status.Terminal() && !j.resetNow(p):
			w.fail("the view of task %s does not see %s, which was over", def.Name, w.def.Tasks[p].Name)
		case !unseen && !s.Tasks[p].Status.Terminal():
			w.fail("the view of task %s sees %s, which is not over", def.Name, w.def.Tasks[p].Name)
		}
	}
	for _, p := range w.graph.Data(n) {
		if slices.Contains(t.Unseen, p) {
			w.fail("task %s began before %s was over, which it reads", def.Name, w.def.Tasks[p].Name)
		}
	}
	if s.Head.Resetting != nil {
		w.fail("task %s began while a retry is being taken up", def.Name)
	}
	if got := decide(def.TriggerRule, w.viewFacts(s, n)); got[0] != ruleRuns {
		w.fail("task %s began and its rule %s %s over %v", def.Name, def.TriggerRule, got[0], w.viewFacts(s, n))
	}
	w.stats.hit("rule met: " + string(def.TriggerRule))
	if len(t.Unseen) > 0 {
		w.stats.hit("view with a predecessor still open")
	}
	if def.Kind == workflow.KindFinally {
		if !s.Head.FinallyBegun {
			w.fail("finally task %s began and finally has not", def.Name)
		}
		return
	}
	if j.was.generation != s.Head.Generation {
		return // in the step that revived the run
	}
	if j.was.finally {
		w.fail("task %s began when finally had begun", def.Name)
	}
	switch j.was.ending {
	case engine.EndingStop, engine.EndingTimeout:
		w.fail("task %s began while the run ends by %s", def.Name, j.was.ending)
	case engine.EndingDrain, engine.EndingFailFast:
		w.stats.hit("handler began under " + string(j.was.ending))
		if !w.spared(s, n, false) {
			w.fail("task %s began under %s and handles no failure", def.Name, j.was.ending)
		}
	}
}

// checkStarts holds what is started against what was recorded and what the oracle would render.
func (j *judge) checkStarts(e engine.Event, commands []engine.Command) {
	w, s := j.w, j.s
	if e.Kind == engine.CancelTask && e.Task >= 0 && e.Task < len(s.Instances) { // it replaces another reason to kill an instance
		for i, in := range s.Instances[e.Task] {
			if in.Current != nil && in.Current.Kill == workflow.VerdictCancelled {
				j.why[workflow.MakeAttemptID(s.Input.Run, e.Task, i, in.Number)] = workflow.VerdictCancelled
			}
		}
	}
	for _, c := range commands {
		if c.Kind == engine.KillAttempt && e.Kind != engine.Refused && (c.Start.Attempt != e.Attempt || e.Kind == engine.WorkerLost) && !j.dyingBefore[c.Start.Attempt] {
			j.checkKill(e, place{c.Start.TaskNo, c.Start.Instance})
		}
		if c.Kind == engine.Settle {
			j.checkSettle(e, c.Attempt)
		}
		if c.Kind != engine.StartAttempt {
			continue
		}
		st := c.Start
		in := s.Instances[st.TaskNo][st.Instance]
		switch {
		case in.Current == nil || in.Number != st.Number || in.Fence != st.Fence:
			w.fail("%s is started and not recorded", st.Attempt)
		case st.Hold != (holding(s.Head.Status) && st.Kind == workflow.BodyRunWorkflow) || st.Terminate:
			w.fail("%s of a run that is %s is to be held: %t, terminated: %t", st.Attempt, s.Head.Status, st.Hold, st.Terminate)
		case e.Kind == engine.Refused || j.lived(st):
			continue
		case holding(j.was.status) && holding(s.Head.Status):
			w.fail("%s is started while the run is %s", st.Attempt, s.Head.Status)
		case j.w.def.Tasks[st.TaskNo].Kind == workflow.KindTask && (j.was.ending == engine.EndingStop || j.was.ending == engine.EndingTimeout):
			w.fail("%s is started while the run ends by %s", st.Attempt, j.was.ending)
		case st.Attempt != workflow.MakeAttemptID(s.Input.Run, st.TaskNo, st.Instance, st.Number):
			w.fail("%s is not the ID of attempt %d", st.Attempt, st.Number)
		case st.Epoch != e.Epoch:
			w.fail("%s carries epoch %d, its leader's is %d", st.Attempt, st.Epoch, e.Epoch)
		case st.Accepted != 0:
			w.fail("%s is new and accepted", st.Attempt)
		}
		if st.Fence < int64(e.At)/1e6 {
			w.fail("%s has fence %d, below the time", st.Attempt, st.Fence)
		}
		if want := w.renderBody(s, st); want != string(st.Body) {
			w.fail("%s was rendered to %s, its view gives %s", st.Attempt, st.Body, want)
		}
		if st.Kind == workflow.BodyRunWorkflow {
			j.checkChild(st, in)
		}
		j.born[st.Attempt] = e.At
	}
}

// checkSettle holds that only what has a verdict is settled: an executor may forget it, and start it again when asked to.
func (j *judge) checkSettle(e engine.Event, id workflow.AttemptID) {
	_, task, instance, number, err := id.Parse()
	if err == nil && task < len(j.s.Instances) && instance < len(j.s.Instances[task]) {
		in := j.s.Instances[task][instance]
		if number < in.Number || number == in.Number && in.Current == nil {
			return
		}
	}
	if j.w.undone { // what a lost history knew may be told at any time
		return
	}
	j.w.fail("%s is settled after %s and has no verdict", id, describe(j.w, e))
}

// checkRun holds what the run itself may do in a step.
func (j *judge) checkRun(e engine.Event, commands []engine.Command) {
	w, s := j.w, j.s
	h := &s.Head
	if bumped := h.Generation - j.was.generation; bumped != 0 && (bumped != 1 || !isVerb(e.Kind)) {
		w.fail("%s brought the run from generation %d to %d", describe(w, e), j.was.generation, h.Generation)
	}
	if !legalRun(j.was.status, h.Status) && !(j.was.status.Terminal() && h.Status == workflow.RunQueued) {
		w.fail("%s made the run %s from %s", describe(w, e), h.Status, j.was.status)
	}
	if j.was.finally && h.Generation == j.was.generation && (!h.FinallyBegun || j.was.verdict != h.Verdict) {
		w.fail("finally had begun with verdict %s and has %s after %s", j.was.verdict, h.Verdict, describe(w, e))
	}
	if h.FinallyBegun && !j.was.finally {
		w.stats.hit("finally begun")
		for n, t := range s.Tasks {
			if w.def.Tasks[n].Kind == workflow.KindTask && !t.Status.Terminal() {
				w.fail("finally begins while task %s is %s", w.def.Tasks[n].Name, t.Status)
			}
		}
		if holding(h.Status) {
			w.fail("finally begins while the run is %s", h.Status)
		}
	}
	if !h.Status.Terminal() {
		return
	}
	for n, t := range s.Tasks {
		if !t.Status.Terminal() {
			w.fail("the run is %s while task %s is %s", h.Status, w.def.Tasks[n].Name, t.Status)
		}
	}
	if !slices.ContainsFunc(commands, func(c engine.Command) bool { return c.Kind == engine.Finish }) {
		w.fail("the run ended without finish")
	}
}

// legalRun is the diagram above workflow.RunStatus, with a stop or a timeout possible from everywhere.
func legalRun(from, to workflow.RunStatus) bool {
	if from == to {
		return true
	}
	switch from {
	case workflow.RunQueued:
		return to != workflow.RunPausing && to != workflow.RunPaused
	case workflow.RunStopping:
		return to.Terminal()
	case workflow.RunRunning, workflow.RunPausing, workflow.RunPaused:
		return to != workflow.RunQueued
	}
	return false
}

func describe(w *world, e engine.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", e.Kind)
	if e.Attempt != "" {
		if _, t, i, n, err := e.Attempt.Parse(); err == nil {
			fmt.Fprintf(&b, " %s[%d]#%d", w.def.Tasks[t].Name, i, n)
		}
	}
	if _, onTask := taskTable[e.Kind]; onTask || e.Kind == engine.Admit || e.Kind == engine.Approve || e.Kind == engine.Reject {
		name := fmt.Sprint(e.Task)
		if e.Task >= 0 && e.Task < len(w.def.Tasks) {
			name = w.def.Tasks[e.Task].Name
		}
		fmt.Fprintf(&b, " %s[%d]", name, e.Instance)
	}
	if e.Outcome != nil {
		b.WriteString(" " + describeOutcome(e.Outcome))
	}
	fmt.Fprintf(&b, " (at %.3fs)", float64(e.At-epoch0)/1e9)
	return b.String()
}
