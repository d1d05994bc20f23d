// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"bytes"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Times of the executor. Commands are late by less than lateBy and zombies live shorter than that, so that an attempt that
// is over stays known for longer than anybody may ask to start it (an executor keeps ended jobs at least 10 minutes).
const (
	lateBy      = 4 * time.Minute
	keepSettled = 15 * time.Minute
	relistEvery = 30 * time.Second
	intentValid = 30 * time.Minute // a start whose outcome is unknown is not repeated after this
)

type jobPhase string

// The phases of a job.
const (
	jobAccepted jobPhase = "accepted"
	jobRunning  jobPhase = "running"
	jobEnded    jobPhase = "ended" // a tombstone is a job that ended before it began
)

// job is one attempt as the executor knows it.
type job struct {
	id    workflow.AttemptID
	at    place
	num   int
	start engine.Start
	phase jobPhase
	plan  plan

	index     uint64
	node      string
	held      string // why it cannot start, for now
	stuck     bool   // no worker could ever run it
	startedAt workflow.Time
	endedAt   workflow.Time
	outcome   *engine.Outcome
	ran       bool
	killing   bool
	settled   bool

	// Of a child run: hold is what is wanted of it, by the newest leader; resting that it has come to rest.
	hold      bool
	holdEpoch uint64
	resting   bool
	due       func() // what it would do, did it not rest

	forgotten bool // the executor does not know it any more
	orphan    bool // of a history that a rollback undid
}

// executor runs attempts: idempotent by attempt ID, with tombstones, and telling the truth late, twice or not at all.
type executor struct {
	w     *world
	jobs  map[workflow.AttemptID]*job
	order []*job
	index uint64
	open  []*job // neither settled nor forgotten
	// children are the child runs, by their IDs.
	children map[workflow.RunID]*childRun
}

func newExecutor(w *world) *executor {
	return &executor{w: w, jobs: map[workflow.AttemptID]*job{}, children: map[workflow.RunID]*childRun{}}
}

func (x *executor) known(id workflow.AttemptID) *job {
	if j := x.jobs[id]; j != nil && !j.forgotten {
		return j
	}
	return nil
}

func (x *executor) add(s engine.Start) *job {
	j := &job{id: s.Attempt, at: place{s.TaskNo, s.Instance}, num: s.Number, start: s}
	if old := x.jobs[s.Attempt]; old != nil {
		j.ran = old.ran
		j.fenceOf(old)
	}
	x.index++
	j.index = x.index
	x.jobs[s.Attempt] = j
	x.order = append(x.order, j)
	x.open = append(x.open, j)
	return j
}

// fenceOf keeps what a forgotten job of the same attempt was started with.
func (j *job) fenceOf(old *job) { j.orphan = old.orphan }

// begin carries out a StartAttempt of leader l.
func (x *executor) begin(l *leader, s engine.Start) {
	w := x.w
	if !w.store.recorded[s.Attempt] {
		w.fail("act before save: %s reached the executor and no saved state knows it", s.Attempt)
	}
	if j := x.known(s.Attempt); j != nil {
		x.adopt(j, s)
		x.hold(l, j, s.Hold)
		return
	}
	if s.Accepted != 0 {
		if x.jobs[s.Attempt] == nil {
			w.fail("%s is said to be accepted as %d and never was", s.Attempt, s.Accepted)
		}
		w.stats.hit("lost: the executor forgot it")
		j := x.add(s)
		x.end(j, engine.Outcome{Kind: engine.OutcomeLost, Message: "not known any more"})
		return
	}
	if s.Body == nil {
		x.end(x.add(s), engine.Outcome{Kind: engine.OutcomeInvalid, Message: "the body cannot be rendered again"})
		return
	}
	if l.clock().Sub(s.IntentAt) > intentValid {
		w.stats.hit("lost: outcome of the start unknown")
		x.end(x.add(s), engine.Outcome{Kind: engine.OutcomeLost, Message: "outcome unknown"})
		return
	}
	if w.chance(w.profile.refuse) {
		w.stats.hit("observation refused")
		w.logf("executor refuses %s", s.Attempt)
		l.hear(engine.Event{Kind: engine.Refused, Attempt: s.Attempt, Message: "connection refused"}, w.lag())
		return
	}
	j := x.add(s)
	j.phase, j.plan = jobAccepted, w.plan(j)
	j.orphan = x.undone(j)
	x.takeChild(j)
	x.hold(l, j, s.Hold)
	w.logf("executor accepts %s: %s", j.id, j.plan)
	x.report(j)
	if j.plan.held > 0 {
		j.held, j.stuck = "no worker has room", j.plan.stuck
		x.w.after(j.plan.held, func() { x.launch(j) })
		x.w.after(w.between(0, 5*time.Second), func() { x.report(j) })
		return
	}
	x.w.after(j.plan.delay, func() { x.launch(j) })
}

// adopt re-attaches to a job that exists. What a start asks for never changes, but for histories that were undone.
func (x *executor) adopt(j *job, s engine.Start) {
	if !x.w.undone && j.phase != jobEnded && (j.start.Fence != s.Fence || j.start.Epoch != s.Epoch || j.start.BodyHash != s.BodyHash) {
		x.w.fail("%s was started with fence %d, epoch %d, body %s and is started again with fence %d, epoch %d, body %s",
			j.id, j.start.Fence, j.start.Epoch, j.start.BodyHash, s.Fence, s.Epoch, s.BodyHash)
	}
	if s.Body != nil && j.start.Body != nil && !x.w.undone && !bytes.Equal(j.start.Body, s.Body) {
		x.w.fail("%s was started with %s and is started again with %s", j.id, j.start.Body, s.Body)
	}
	j.orphan = x.undone(j)
	x.reopen(j)
	x.report(j)
}

// reopen takes up a job that was settled in a history that was undone.
func (x *executor) reopen(j *job) {
	if j.settled {
		j.settled = false
		x.open = append(x.open, j)
	}
}

// undone reports whether a job belongs to a history that a rollback undid: nobody will ever ask about it.
func (x *executor) undone(j *job) bool {
	return x.w.undone && x.w.store.newest[j.at] < j.num
}

// launch begins the process of an accepted job.
func (x *executor) launch(j *job) {
	if j.phase != jobAccepted || j.forgotten {
		return
	}
	if j.killing {
		return
	}
	if j.hold { // it was never begun: it rests as it is
		j.due = func() { x.launch(j) }
		return
	}
	if j.plan.never {
		x.end(j, engine.Outcome{Kind: j.plan.kind, Message: j.plan.message})
		return
	}
	x.w.judgeLaunch(j)
	j.phase, j.ran, j.held, j.stuck = jobRunning, true, "", false
	j.startedAt, j.node = x.w.now, x.w.pickNode(j)
	x.w.stats.hit("process started")
	x.w.logf("executor runs %s on %s", j.id, j.node)
	x.report(j)
	if j.plan.moves {
		x.w.after(j.plan.run/2, func() {
			if j.phase == jobRunning && !j.forgotten {
				x.w.stats.hit("executor replaces an allocation")
				j.node += "b"
				x.report(j)
			}
		})
	}
	if j.plan.hang {
		return
	}
	x.w.after(j.plan.run, func() { x.finish(j) })
}

// finish ends a job by itself, unless it rests.
func (x *executor) finish(j *job) {
	switch {
	case j.phase != jobRunning || j.forgotten:
	case j.resting:
		j.due = func() { x.finish(j) }
	default:
		x.end(j, j.plan.outcome(j))
	}
}

// end ends a job for good and says so.
func (x *executor) end(j *job, o engine.Outcome) {
	o.StartedAt, o.EndedAt = j.startedAt, x.w.now
	j.phase, j.outcome, j.endedAt, j.held = jobEnded, &o, x.w.now, ""
	x.w.logf("executor: %s is over: %s", j.id, describeOutcome(&o))
	if c := x.children[j.start.Child]; c != nil && c.job == j {
		c.over, c.ok = true, o.Kind == engine.OutcomeExited
	}
	x.report(j)
	if o.Kind == engine.OutcomeLost && j.ran && j.plan.strays {
		x.stray(j)
	}
}

// stray is a worker that comes back after its loss was told, or an allocation that the executor replaced by itself.
func (x *executor) stray(j *job) {
	w := x.w
	w.after(w.between(time.Second, 2*time.Minute), func() {
		if j.forgotten || w.calm {
			return
		}
		w.stats.hit("late event after a loss")
		j.node += "b"
		w.spread(j, w.startedEvent(j))
		zero := 0
		o := *j.outcome
		o.Kind, o.ExitCode, o.Message, o.EndedAt, o.Output = engine.OutcomeExited, &zero, "", w.now, []byte("n=4\ns=late\n")
		o.Stdout = []byte("rows=9\n")
		j.outcome = &o
		x.report(j)
	})
}

// kill carries out a KillAttempt: whatever happens, nothing of the attempt runs afterwards.
func (x *executor) kill(s engine.Start) {
	j := x.known(s.Attempt)
	switch {
	case j == nil:
		x.w.stats.hit("tombstone")
		x.end(x.add(s), engine.Outcome{Kind: engine.OutcomeKilled, Message: "never started"})
	case j.phase == jobEnded:
		x.reopen(j)
		x.report(j)
	case s.WorkerLost: // nobody waits for it
		j.killing = true
		x.w.after(x.w.between(0, 2*time.Second), func() {
			if j.phase != jobEnded && !j.forgotten {
				x.end(j, engine.Outcome{Kind: engine.OutcomeKilled})
				x.stray(j)
			}
		})
	case !j.killing:
		j.killing = true
		delay := x.w.between(0, 30*time.Second)
		if j.phase == jobAccepted {
			delay = x.w.between(0, 2*time.Second)
		}
		x.w.after(delay, func() {
			if j.phase != jobEnded && !j.forgotten {
				x.end(j, engine.Outcome{Kind: engine.OutcomeKilled, Signal: 15})
			}
		})
	}
}

// settle lets go of an attempt whose verdict is saved.
func (x *executor) settle(id workflow.AttemptID) {
	j := x.jobs[id]
	if j == nil { // nonsense about an attempt that never was, once the run is over
		return
	}
	if j.phase != jobEnded && !j.orphan && !j.forgotten {
		x.w.fail("%s is settled while it is %s", id, j.phase)
	}
	if j.settled {
		return
	}
	j.settled = true
	x.w.after(keepSettled, func() { j.forgotten = j.forgotten || j.settled })
	x.close(j)
}

func (x *executor) close(j *job) {
	for i, o := range x.open {
		if o == j {
			x.open = append(x.open[:i], x.open[i+1:]...)
			return
		}
	}
}

// forget makes the executor lose a job: what ran is gone, and nobody is told.
func (x *executor) forget(j *job) {
	x.w.logf("executor forgets %s", j.id)
	j.forgotten = true
	if j.phase == jobRunning {
		j.phase = jobEnded
	}
	x.close(j)
}

// report tells the leaders that watch a job how it stands now.
func (x *executor) report(j *job) {
	w := x.w
	if j.start.Kind == workflow.BodyRunWorkflow && j.phase != jobEnded && (j.resting || j.holdEpoch > 0) {
		kind := engine.ChildResumed
		if j.resting {
			kind = engine.ChildPaused
		}
		w.spread(j, engine.Event{Kind: kind, Attempt: j.id})
	}
	switch {
	case j.phase == jobEnded:
		w.spread(j, w.endedEvent(j))
	case j.phase == jobRunning:
		w.spread(j, w.startedEvent(j))
	case j.held != "":
		w.spread(j, engine.Event{Kind: engine.Held, Attempt: j.id, Message: j.held, Impossible: j.stuck})
	default:
		w.spread(j, engine.Event{Kind: engine.Accepted, Attempt: j.id, Index: j.index, Place: engine.Place{JobID: "job-" + string(j.id)}})
	}
}

func (w *world) startedEvent(j *job) engine.Event {
	return engine.Event{Kind: engine.Started, Attempt: j.id, Place: engine.Place{Node: j.node, AllocID: "a-" + j.node}, StartedAt: j.startedAt}
}

func (w *world) endedEvent(j *job) engine.Event {
	o := *j.outcome
	return engine.Event{Kind: engine.Ended, Attempt: j.id, Place: engine.Place{Node: j.node}, Outcome: &o}
}

// relist is the list that tells the truth when observations were lost: everything that is open, again and again.
func (w *world) relist() {
	for _, j := range append([]*job(nil), w.executor.open...) {
		if j.held != "" || j.phase != jobAccepted || j.resting {
			w.executor.report(j)
		}
		if j.phase == jobAccepted && w.chance(0.5) {
			w.spread(j, engine.Event{Kind: engine.Accepted, Attempt: j.id, Index: j.index})
		}
	}
	w.nudge()
	if l := w.leader; l != nil && l.state.Head.Status == workflow.RunQueued && w.chance(0.8) { // its turn comes
		w.deliver(engine.Event{Kind: engine.Begin, Generation: w.r.IntN(2) * l.state.Head.Generation})
	}
	w.after(relistEvery, w.relist)
}
