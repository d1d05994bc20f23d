// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Faults are the classes of trouble that a seed may meet; the shrinker switches them off one by one.
type Faults struct {
	Crash    bool // leaders die before the save, after it, midway through the commands
	Depose   bool // a leader is replaced while it lives
	Save     bool // saves get lost, or commit while reporting a timeout
	Network  bool // commands and observations are late, doubled, lost, out of order
	Worker   bool // workers are lost and come back, attempts cannot be placed
	Forget   bool // the executor forgets jobs
	Rollback bool // the store is restored under a living leader
	Clock    bool // clocks step
	Verbs    bool // people use verbs
	Task     bool // tasks fail
}

// AllFaults is what seeds run with.
func AllFaults() Faults {
	return Faults{true, true, true, true, true, true, true, true, true, true}
}

// profile is how hard one seed is hit.
type profile struct {
	until      time.Duration // no more faults after this
	crash      float64       // per opportunity
	saveLost   float64
	saveBlind  float64 // commits, and reports a timeout
	lost       float64 // messages
	doubled    float64
	slow       time.Duration // messages
	slowStart  time.Duration
	slowRun    time.Duration
	lateTick   time.Duration
	batching   time.Duration
	takeover   time.Duration
	fail, odd  float64
	lostWorker float64
	badOutput  float64
	held       float64
	refuse     float64
	inflight   int

	crashes, deposals, rollbacks, forgets, losses, ticks, verbs int
}

// drawProfile decides how hard a seed is hit: some not at all, most a little, some all the time.
func (w *world) drawProfile() {
	r, f := w.r, w.faults
	some := func(on bool, p, high float64) float64 {
		if x := r.Float64(); on && x < p {
			return r.Float64() * high
		}
		return 0
	}
	count := func(on bool, p float64, n int) int {
		if x, k := r.Float64(), 1+r.IntN(n); on && x < p {
			return k
		}
		return 0
	}
	long := func(short, high time.Duration) time.Duration {
		if r.IntN(3) == 0 {
			return high
		}
		return short
	}
	p := profile{
		until:     w.between(10*time.Second, 30*time.Minute),
		crash:     some(f.Crash, 0.5, 0.06),
		saveLost:  some(f.Save, 0.3, 0.1),
		saveBlind: some(f.Save, 0.3, 0.1),
		lost:      some(f.Network, 0.5, 0.3),
		doubled:   some(f.Network, 0.6, 0.4),
		slow:      long(50*time.Millisecond, 20*time.Second),
		slowStart: long(2*time.Second, time.Minute),
		slowRun:   long(20*time.Second, 4*time.Minute),
		lateTick:  long(0, 2*time.Second),
		batching:  long(0, time.Second),
		takeover:  long(2*time.Second, time.Minute),
		fail:      some(f.Task, 0.6, 0.4),
		odd:       some(f.Task, 0.4, 0.3),
		badOutput: some(f.Task, 0.4, 0.1),
		held:      some(f.Worker, 0.3, 0.3),
		refuse:    some(f.Network, 0.3, 0.4),
		inflight:  []int{1, 2, 3, 5, 10, 50, 1000}[r.IntN(7)],
		crashes:   count(f.Crash, 0.4, 4),
		deposals:  count(f.Depose, 0.4, 4),
		rollbacks: count(f.Rollback, 0.12, 2),
		forgets:   count(f.Forget, 0.2, 3),
		losses:    count(f.Worker, 0.4, 4),
		ticks:     count(f.Clock, 0.5, 6),
		verbs:     count(f.Verbs, 0.5, 6),
	}
	p.lostWorker = some(f.Worker, 0.4, 0.3)
	if !f.Network {
		p.slow = 50 * time.Millisecond
	}
	if large(w.def) {
		// Large ones: a new leader asks for a thousand attempts anew; with more failures than that it never gets anywhere.
		p.crash, p.saveLost, p.saveBlind = p.crash/100, p.saveLost/100, p.saveBlind/100
		p.inflight = max(p.inflight, 50)
	}
	if p.rollbacks > 0 { // a store restored and an executor that forgot, both: nothing is promised then
		p.forgets = 0
	}
	w.profile = p
}

// large tells the definitions with thousands of instances or hundreds of tasks.
func large(def *workflow.Definition) bool {
	return len(def.Tasks) > 200 || slices.ContainsFunc(def.Tasks, func(t workflow.Task) bool { return t.Name == "wide" })
}

// lag is how long a message takes; late may take much longer.
func (w *world) lag() time.Duration { return w.between(0, w.profile.slow) }

func (w *world) late() time.Duration {
	if w.calm || !w.faults.Network || !w.chance(0.05) {
		return w.lag()
	}
	w.stats.hit("message very late")
	return w.between(0, lateBy)
}

// spread sends an observation to everybody who watches the attempt, or loses it.
func (w *world) spread(j *job, e engine.Event) {
	for _, l := range w.leaders() {
		if !l.watched[j.id] && !w.chance(0.02) {
			continue
		}
		if w.chance(w.profile.lost) {
			w.stats.hit("observation lost")
			continue
		}
		l.hear(e, w.late())
		if w.chance(w.profile.doubled) {
			w.stats.hit("observation doubled")
			l.hear(e, w.late())
		}
	}
}

func (w *world) leaders() []*leader {
	out := append([]*leader(nil), w.zombies...)
	if w.leader != nil {
		out = append(out, w.leader)
	}
	return out
}

type crashPoint string

// Where a leader may die.
const (
	crashBeforeSave crashPoint = "crash before the save"
	crashAfterSave  crashPoint = "crash after the save"
	crashMidway     crashPoint = "crash midway through the commands"
)

// crash lets a leader die at a point, now and then.
func (w *world) crash(at crashPoint, l *leader) bool {
	if w.fragile > 0 && !l.deposed && l.state.Head.Resetting != nil && at != crashBeforeSave && w.chance(0.5) {
		w.fragile--
		w.stats.hit("crash while a retry is taken up")
		l.die(string(at))
		return true
	}
	if w.calm || !w.chance(w.profile.crash) {
		return false
	}
	w.stats.hit(string(at))
	l.die(string(at))
	return true
}

// planFaults lays out what happens to the world until it calms down.
func (w *world) planFaults() {
	p := &w.profile
	plan := func(n int, do func()) {
		for range n {
			w.after(w.between(0, p.until), func() {
				if !w.calm {
					do()
				}
			})
		}
	}
	plan(p.crashes, func() {
		if w.leader != nil {
			w.stats.hit("crash between turns")
			w.leader.die("crash")
		}
	})
	plan(p.deposals, func() {
		if w.leader != nil {
			w.takeover()
		}
	})
	plan(p.rollbacks, w.rollback)
	plan(p.forgets, w.forgetSome)
	plan(p.losses, w.loseWorker)
	plan(p.losses, w.giveUpWorker)
	plan(p.ticks, func() {
		if w.leader != nil {
			w.stats.hit("tick out of time")
			w.leader.receive(letter{event: engine.Event{Kind: engine.Tick}})
		}
		if w.leader != nil && w.chance(0.2) {
			w.leader.receive(letter{event: engine.Event{Kind: engine.Continue}})
		}
		if w.leader != nil && w.chance(0.1) {
			w.leader.receive(letter{event: engine.Event{Kind: engine.Begin}})
		}
		if w.leader != nil && w.chance(0.5) {
			w.leader.receive(letter{event: w.nonsense()})
		}
		if w.leader != nil && w.chance(0.3) {
			w.stats.hit("clock jump")
			w.leader.base = w.leader.base.Add(w.between(time.Second, 10*time.Minute))
			w.leader.settleIn()
		}
	})
	plan(p.rollbacks, func() { w.store.keep(len(w.history)) })
	w.after(p.until, w.quiet)
}

// nonsense is an event that fits nothing: of places that are not there, of attempts that are to come. It must be dropped.
func (w *world) nonsense() engine.Event {
	w.stats.hit("event that fits nothing")
	task, instance := w.r.IntN(len(w.def.Tasks)), w.r.IntN(3)
	next := 200 // far from what may come true while the event is on its way
	if ins := w.leader.state.Instances[task]; instance < len(ins) {
		next += ins[instance].Number
	}
	zero := 0
	id := workflow.MakeAttemptID(w.input.Run, task, instance, next)
	switch w.r.IntN(8) {
	case 6: // nobody runs it but the engine, or it is no child run
		ins := w.leader.state.Instances[task]
		if w.def.Tasks[task].BodyKind == workflow.BodyRunWorkflow || w.def.Tasks[task].BodyKind.Cluster() || len(ins) == 0 {
			break
		}
		id := workflow.MakeAttemptID(w.input.Run, task, 0, max(1, ins[0].Number))
		if isOwn(w.def.Tasks[task].BodyKind) {
			return engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &zero}}
		}
		return engine.Event{Kind: engine.ChildPaused, Attempt: id}
	case 7:
		return engine.Event{Kind: engine.Approve, Task: task, Instance: 1 << 20, By: "ada"}
	case 0:
		return engine.Event{Kind: engine.Admit, Task: len(w.def.Tasks), Instance: 0}
	case 1:
		return engine.Event{Kind: engine.Admit, Task: task, Instance: 1 << 20}
	case 2:
		return engine.Event{Kind: engine.CancelTask, Task: -1, Instance: -1, By: "operator"}
	case 3:
		return engine.Event{Kind: engine.Started, Attempt: id, Place: engine.Place{Node: "n9"}}
	case 4:
		return engine.Event{Kind: engine.Ended, Attempt: id, Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &zero}}
	}
	other := workflow.MakeAttemptID(workflow.NewRunID(epoch0.Time(), [6]byte{9}), task, instance, 1)
	return engine.Event{Kind: engine.Ended, Attempt: other, Outcome: &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &zero}}
}

// quiet ends all faults; from here on every run must come to its end.
func (w *world) quiet() {
	w.logf("the world is calm from here on")
	w.calm = true
	p := &w.profile
	p.crash, p.saveLost, p.saveBlind, p.lost, p.doubled, p.refuse, p.held = 0, 0, 0, 0, 0, 0, 0
	p.fail, p.odd, p.lostWorker = p.fail/2, p.odd/2, 0
	for _, z := range append([]*leader(nil), w.zombies...) {
		z.die("the world is calm")
	}
	if w.leader == nil {
		w.takeover()
	}
}

// nudge is the human who ends a pause once the world is calm.
func (w *world) nudge() {
	if !w.calm || w.leader == nil || w.now < epoch0.Add(w.profile.until+10*time.Minute) {
		return
	}
	s := w.leader.state
	switch s.Head.Status {
	case workflow.RunPaused, workflow.RunPausing:
		w.deliver(engine.Event{Kind: engine.Resume, By: "operator"})
	}
	w.decideAll(s)
}

// decideAll is the human who answers whatever waits for an answer.
func (w *world) decideAll(s *engine.State) {
	for n, ins := range s.Instances {
		if w.def.Tasks[n].BodyKind != workflow.BodyApproval {
			continue
		}
		for i, in := range ins {
			if in.Status != workflow.Waiting || w.chance(0.5) {
				continue
			}
			e := engine.Event{Kind: engine.Reject, Task: n, Instance: i, By: "ada"}
			if w.chance(0.7) {
				e.Kind, e.Values = engine.Approve, w.drawValues(n, engine.Approve)
			}
			w.deliver(e)
		}
	}
}

// forgetSome makes the executor forget a job whose acceptance is saved, when nobody is about to ask for it anew.
func (w *world) forgetSome() {
	if len(w.zombies) > 0 || w.leader == nil || w.profile.doubled > 0.1 || len(w.executor.open) == 0 {
		return
	}
	j := w.executor.open[w.r.IntN(len(w.executor.open))]
	if !j.start.Kind.Cluster() { // the leader's own store holds those
		return
	}
	in := w.savedInstance(j.at)
	if w.flying[j.id] > 0 || in == nil || in.Current == nil || in.Number != j.num || in.Current.Accepted == 0 {
		return
	}
	w.stats.hit("executor forgets a job")
	w.executor.forget(j)
	// The list that follows does not find it: the loss is told by whoever watches.
	w.after(w.between(10*time.Second, time.Minute), func() { w.tellForgotten(j) })
}

// tellForgotten reports the loss of a forgotten job until somebody settles it.
func (w *world) tellForgotten(j *job) {
	if j.settled || w.executor.jobs[j.id] != j {
		return
	}
	w.spread(j, engine.Event{Kind: engine.Ended, Attempt: j.id, Outcome: &engine.Outcome{Kind: engine.OutcomeLost, Message: "not known any more"}})
	j.phase = jobEnded
	w.after(relistEvery, func() { w.tellForgotten(j) })
}

// loseWorker takes a worker away with everything that runs on it.
func (w *world) loseWorker() {
	node := w.pickNode(&job{})
	for _, j := range append([]*job(nil), w.executor.open...) {
		if j.phase == jobRunning && j.node == node && !j.killing {
			w.stats.hit("worker lost under an attempt")
			w.executor.end(j, engine.Outcome{Kind: engine.OutcomeLost, Message: "its worker went away"})
		}
	}
}

// giveUpWorker tells leaders that a worker is taken for dead, rightly or not: by a person, or by whoever suspects it.
func (w *world) giveUpWorker() {
	by := ""
	if w.chance(0.5) {
		by = "operator"
	}
	node := w.pickNode(&job{})
	for _, j := range append([]*job(nil), w.executor.open...) {
		if j.phase == jobRunning && j.node == node {
			w.stats.hit("worker given up under an attempt")
			w.spread(j, engine.Event{
				Kind: engine.WorkerLost, Attempt: j.id, By: by, Message: "its worker is taken for dead", Place: engine.Place{Node: node},
			})
		}
	}
}
