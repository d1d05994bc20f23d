// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// So many events share a save at most: far more than arrive during one, and few enough that what they change fits a
// transaction of any store.
const maxBatch = 128

// run drives one active run. Its goroutine owns the state; everybody else sends messages and asks for views.
//
//	loading ─▶ waiting ─▶ stepping ─▶ saving ─▶ acting ─▶ waiting … ─▶ left
//	   ▲                                │
//	   └── backoff ◀── outcome unknown ─┘
type run struct {
	t      *term
	id     workflow.RunID
	mail   chan message
	views  chan viewing
	nudge  chan struct{} // from admission: there is something to take
	over   chan struct{} // closed when the goroutine has left
	turned chan struct{} // closed when it has done what was due when it was loaded
	known  chan struct{} // closed when the store is known to have the run

	claimed bool // it is not driven, but kept from that: see claim; never changes

	// What follows belongs to the goroutine.
	machine  *engine.Machine
	state    *engine.State
	member   *member
	queue    []message        // to be stepped
	unsaved  []engine.Event   // observations stepped since the last save; after a failed one they are stepped again
	replies  []chan<- error   // to be answered by the next save
	acts     []engine.Command // to be carried out after the next save
	must     bool             // something waits for a save
	lingers  time.Time        // when news that may linger must be saved; zero = none wait
	wake     workflow.Time    // when a Tick is due, in the run's time; 0 = none
	fast     time.Duration    // how much the run's time is ahead of this leadership's: the clock of an earlier leader was wrong
	proceed  bool             // a Continue is due, after the next save
	failures int              // saves and loads failed in a row
	awaited  bool             // its first load is waited for
	places   int              // which the admission keeps for it until then
	ahead    chan aheadLoad   // at a takeover: what is loaded for it with others; closed when it is to load by itself
	sought   bool             // nobody knows whether there is such a run
	news     toldNews         // what the news have said of it

	// Guarded by the mutex of the term's gates: whether a child run was told to begin, or to wait with it.
	told, held bool

	mu      sync.Mutex // guards everything below
	index   uint64     // grows with every change
	changed chan struct{}
	size    int    // instances that a document of the run holds
	shown   uint64 // the index that readers are told, see shownIndex
	shownAt time.Time
	notice  string // why it does not get on, for people
	stand   standing
	stood   chan struct{} // closed and replaced when stand changes
}

// standing is how a run stands by what is saved of it. The zero value: that is not known yet.
type standing struct {
	status     workflow.RunStatus
	reason     string
	generation int
	begun      workflow.Time
	ended      workflow.Time
	outputs    map[string]workflow.Value // once it is over
}

// message is an event with the channel, if any, that wants to know whether it was saved: then it is a verb, which is only
// stepped if it fits. The channel has room for the one answer.
type message struct {
	event engine.Event
	reply chan<- error
	// cascaded marks a verb that comes from the run's parent, or from Cairn itself.
	cascaded bool
}

// viewing asks the owner to call read between two steps.
type viewing struct {
	read func(*engine.Machine, *engine.State) error
	done chan<- error // has room for the one answer
}

func newRun(t *term, id workflow.RunID) *run {
	return &run{
		t: t, id: id, mail: make(chan message, maxBatch), views: make(chan viewing), nudge: make(chan struct{}, 1),
		over: make(chan struct{}), turned: make(chan struct{}), known: make(chan struct{}), changed: make(chan struct{}),
		stood: make(chan struct{}),
	}
}

// send puts a message into the mailbox, waiting for room. It is false when the run is over or ctx ended first.
func (r *run) send(ctx context.Context, m message) bool {
	select {
	case r.mail <- m:
		return true
	case <-r.over:
		return false
	case <-ctx.Done():
		return false
	}
}

// drive is the goroutine of the run: it loads the state, unless it came with one, and goes on until the run is finished,
// gone, or no longer ours.
func (r *run) drive() {
	defer r.leave()
	if r.state != nil {
		close(r.known)
		r.join()
		r.publish()
		r.tell(true)
	} else if !r.load() {
		return
	}
	r.collect() // a run that is over stays only if a verb waits for it
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for first := true; ; {
		if !r.turn() {
			return
		}
		if first {
			first = false
			close(r.turned)
		}
		r.arm(timer)
		select {
		case <-r.t.ctx.Done():
			r.flush()
			return
		case m := <-r.mail:
			r.queue = append(r.queue, m)
			r.collect()
		case <-r.nudge:
			r.collect()
		case <-timer.C:
			r.collect()
		case v := <-r.views:
			r.serve(v)
		}
	}
}

// collect takes what waits in the mailbox, without waiting.
func (r *run) collect() {
	for len(r.queue) < maxBatch {
		select {
		case m := <-r.mail:
			r.queue = append(r.queue, m)
		default:
			return
		}
	}
}

// arm sets the timer for whatever is due next. An hour is as good as never: the loop turns and arms it again.
func (r *run) arm(timer *time.Timer) {
	pause := time.Hour
	if r.wake != 0 {
		pause = min(pause, r.wake.Sub(r.now()))
	}
	if !r.lingers.IsZero() {
		pause = min(pause, time.Until(r.lingers))
	}
	if len(r.queue) > 0 || r.proceed {
		pause = 0
	}
	timer.Reset(max(pause, 0))
}

// now is the time of the run. It never goes back, and never stands still: where it was stamped by a clock that was ahead it goes on
// from there, so that no timer waits until this leader's clock has caught up.
func (r *run) now() workflow.Time { return r.t.clock.now().Add(r.fast) }

// aheadOf is how much the time of a run that was last stamped at a moment is ahead of a clock.
func aheadOf(now, lastAt workflow.Time) time.Duration { return max(0, lastAt.Sub(now)) }

// turn steps everything that is due, saves once, and acts. It is false when the run is over.
func (r *run) turn() bool {
	r.stepAll()
	for r.must || r.lingerOver() {
		if err := r.save(r.t.ctx); err != nil {
			if !r.recover(err) {
				return false
			}
			r.stepAll()
			continue
		}
		r.act()
		break
	}
	return !r.state.Head.Status.Terminal()
}

func (r *run) lingerOver() bool { return !r.lingers.IsZero() && !time.Now().Before(r.lingers) }

// stepAll steps everything that is due. Admission needs no save of its own: what comes of a grant is saved with the event
// that made room for it.
func (r *run) stepAll() {
	steps := 0
	if r.wake != 0 && r.now() >= r.wake {
		r.wake = 0
		r.t.clock.check()
		r.step(engine.Event{Kind: engine.Tick})
		steps++
	}
	if r.proceed {
		r.proceed = false
		r.step(engine.Event{Kind: engine.Continue})
		steps++
	}
	for _, m := range r.queue {
		if m.reply == nil || r.fits(m) {
			r.step(m.event)
			steps++
		}
	}
	clear(r.queue)
	r.queue = r.queue[:0]
	if r.state.Head.Status == workflow.RunQueued && r.begin() {
		steps++
	}
	for ; steps < 2*maxBatch; steps++ {
		w, ok := r.t.admission.take(r.member)
		if !ok {
			break
		}
		r.admit(w)
	}
	if steps >= 2*maxBatch {
		select {
		case r.nudge <- struct{}{}: // more grants may wait, for the next save
		default:
		}
	}
	if steps > 0 {
		r.measure()
		r.bump()
	}
}

// fits answers a verb that does not fit or changes nothing, and reports whether it is to be stepped.
func (r *run) fits(m message) bool {
	due, err := r.t.fits(r.machine, r.state, m)
	if err != nil {
		m.reply <- err
		return false
	}
	// What a verb would do may have been done a moment ago, and not be saved yet.
	r.replies = append(r.replies, m.reply)
	r.must = true
	return due
}

// begin begins a queued run if its workflow's other runs let it, or skips it. If neither, it is nudged in time.
func (r *run) begin() (stepped bool) {
	begin, skip := r.t.gates.ask(r)
	switch {
	case skip != "":
		r.step(engine.Event{Kind: engine.SkipRun, Reason: skip})
	case begin:
		r.step(engine.Event{Kind: engine.Begin})
	}
	return begin || skip != ""
}

// admit steps a grant and keeps its place for the attempt that came of it.
func (r *run) admit(w want) {
	for _, c := range r.step(engine.Event{Kind: engine.Admit, Task: w.task, Instance: w.instance}) {
		if c.Kind == engine.StartAttempt && c.Start.TaskNo == w.task && c.Start.Instance == w.instance {
			r.t.admission.bind(r.member, c.Attempt)
			return
		}
	}
	r.t.admission.giveBack(r.member)
}

// step stamps an event, folds it into the state, and heeds the commands.
func (r *run) step(e engine.Event) []engine.Command {
	e.At = max(r.now(), r.state.Head.LastAt)
	e.Epoch = r.t.epoch
	e.Random = r.t.s.cfg.Random()
	commands := r.machine.Step(r.state, e)
	decided := true
	switch e.Kind {
	case engine.Accepted, engine.Refused, engine.Held, engine.Started:
		decided = false
		r.unsaved = append(r.unsaved, e)
	case engine.Ended, engine.ChildPaused, engine.ChildResumed:
		r.unsaved = append(r.unsaved, e)
	}
	for _, c := range commands {
		r.heed(c)
		decided = decided || c.Kind != engine.WakeAt // the timer is derived from the state
	}
	switch {
	case decided || len(r.unsaved) >= maxUnsaved:
		r.must = true
	case r.lingers.IsZero():
		r.lingers = time.Now().Add(r.t.s.cfg.Linger)
	}
	return commands
}

// heed notes a command: what is done inside this process at once, what leaves it after the save.
func (r *run) heed(c engine.Command) {
	switch c.Kind {
	case engine.Want:
		r.t.admission.want(r.member, want{c.Task, c.Instance})
	case engine.Withdraw:
		r.t.admission.withdraw(r.member, want{c.Task, c.Instance})
	case engine.WakeAt:
		r.wake = c.At
	case engine.Proceed:
		r.proceed = true
	case engine.Settle:
		// The attempt is over whether or not the save succeeds; a state loaded again holds its place anew.
		r.t.admission.free(r.member, c.Attempt)
		r.acts = append(r.acts, c)
	case engine.StartAttempt, engine.KillAttempt:
		r.acts = append(r.acts, c)
	case engine.Finish:
		// The run leaves when its terminal status is saved.
	}
}

// act hands out what was saved.
func (r *run) act() {
	for _, c := range r.acts {
		switch kind := r.bodyOf(c.Attempt); {
		case kind == workflow.BodyRunWorkflow:
			r.t.children.carryOut(r, c)
		case kind == workflow.BodyHTTP:
			r.t.calls.carryOut(r, c)
		case kind.Cluster():
			r.t.attempts.carryOut(c)
		}
		r.t.s.cfg.fault(FaultMidway)
	}
	clear(r.acts)
	r.acts = r.acts[:0]
}

// bodyOf is what an attempt of the run does; a join for what is no attempt of it.
func (r *run) bodyOf(attempt workflow.AttemptID) workflow.BodyKind {
	tasks := r.machine.Definition().Tasks
	if _, n, _, _, err := attempt.Parse(); err == nil && n < len(tasks) {
		return tasks[n].BodyKind
	}
	return workflow.BodyJoin
}

// parentActive reports whether the run was started by another one that is not over.
func (r *run) parentActive(in *engine.Input) bool {
	_, active := r.t.parentOf(in)
	return active
}

// publish tells how the run stands, by what is saved.
func (r *run) publish() {
	h := &r.state.Head
	st := standing{status: h.Status, reason: h.Reason, generation: h.Generation, begun: h.StartedAt, ended: h.EndedAt}
	if h.Status.Terminal() {
		st.outputs = maps.Clone(h.Outputs)
	}
	if h.Status == workflow.RunStopping {
		r.t.gates.ending(r.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if was := &r.stand; was.status == st.status && was.generation == st.generation {
		return
	}
	r.stand = st
	close(r.stood)
	r.stood = make(chan struct{})
}

// stands returns how the run stands, and says when that changes.
func (r *run) stands() (st standing, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stand, r.stood
}

// serve answers a viewing.
func (r *run) serve(v viewing) {
	if r.state == nil {
		v.done <- errNotLoaded
		return
	}
	v.done <- v.read(r.machine, r.state)
}

// measure notes how large the run has become.
func (r *run) measure() {
	size := 0
	for _, instances := range r.state.Instances {
		size += max(1, len(instances))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = max(r.size, size)
}

// bump tells everybody who waits for a change. Whoever knows of one calls it.
func (r *run) bump() {
	now := changeIndex(r.t.clock.now())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index = max(r.index+1, now)
	close(r.changed)
	r.changed = make(chan struct{})
}

// changeIndex is the index of a run that last changed at t: microseconds, so that it fits the exact integers of JSON and
// does not go back when a run is loaded again.
func changeIndex(t workflow.Time) uint64 { return uint64(t / workflow.Time(time.Microsecond)) }
