// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// ChildRun is what a run_workflow starts, compiled and checked.
type ChildRun struct {
	Definition *workflow.Definition
	Params     map[string]workflow.Value // checked against the definition
	Given      []string                  // names of the params that were given
	Evaluator  engine.Evaluator          // of Definition
}

// children looks after child runs, each attempt that has one by a goroutine of its own. A child run is a run like others,
// in the same store and driven in the same term; its tender is what passes between it and its parent, so that neither ever
// waits for the other's mailbox.
//
// A child is created only after the attempt that names it is saved, and its ID derives from that attempt: nobody can make
// another one for the same attempt, and there is none that no parent knows.
type children struct {
	t *term

	mu      sync.Mutex // guards everything below, orders included
	tenders map[workflow.AttemptID]*tender
}

// childOrder is what a parent wants of a child run: the last command about its attempt.
type childOrder struct {
	engine.Start
	kill    bool
	version int // counts the commands
}

// tender stands between one attempt and its child run.
//
//	        ┌─▶ created ─┐
//	looking ┤            ├─▶ steering ─▶ told the end
//	        └─▶ found ───┘
//	        └─▶ refused, or killed before it was there ─▶ told the end
type tender struct {
	cs      *children
	attempt workflow.AttemptID
	parent  *run
	input   engine.Input         // of the parent
	def     *workflow.Definition // of the parent
	ctx     context.Context      // ends with the term, or when the attempt is settled
	cancel  context.CancelFunc
	changed chan struct{} // full when the order has changed

	order  childOrder // guarded by cs.mu
	notice string     // guarded by cs.mu: what keeps it from getting on, for people

	// What follows belongs to the goroutine.
	child   *run             // the owner of the child run; nil until it is found or made
	tried   bool             // a create was sent in this term
	told    toldChild        // what the parent knows
	stopped engine.EventKind // the verb that was used to end it; empty = none
}

// toldChild is what was told of a child run since the last order.
type toldChild struct {
	version int
	begun   bool
	waits   string
	paused  *bool
}

func newChildren(t *term) *children {
	return &children{t: t, tenders: map[workflow.AttemptID]*tender{}}
}

// carryOut takes a command about an attempt that runs a workflow. It never waits.
func (cs *children) carryOut(parent *run, c engine.Command) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	k := cs.tenders[c.Attempt]
	if c.Kind == engine.Settle {
		if k != nil {
			k.cancel()
		}
		return
	}
	order := childOrder{Start: *c.Start, kill: c.Kind == engine.KillAttempt}
	if k == nil {
		k = &tender{
			cs: cs, attempt: c.Attempt, parent: parent, input: parent.state.Input, def: parent.machine.Definition(),
			changed: make(chan struct{}, 1), order: order,
		}
		k.ctx, k.cancel = context.WithCancel(cs.t.ctx)
		cs.tenders[c.Attempt] = k
		cs.t.group.Go(k.tend)
		return
	}
	order.version = k.order.version + 1
	order.kill = order.kill || k.order.kill // what is to end is not to go on
	k.order = order
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// notice says what keeps the child runs of a run from getting on, for people; empty when nothing does.
func (cs *children) notice(id workflow.RunID) string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	first := workflow.AttemptID("")
	for attempt, k := range cs.tenders {
		if k.notice != "" && strings.HasPrefix(string(attempt), string(id)) && (first == "" || attempt < first) {
			first = attempt
		}
	}
	if first == "" {
		return ""
	}
	return fmt.Sprintf("the run of task %s: %s", cs.tenders[first].order.Task, cs.tenders[first].notice)
}

func (k *tender) setNotice(text string) {
	k.cs.mu.Lock()
	k.notice = text
	k.cs.mu.Unlock()
	k.parent.bump()
}

func (k *tender) current() childOrder {
	k.cs.mu.Lock()
	defer k.cs.mu.Unlock()
	return k.order
}

// tend does what is to be done about the child run until the attempt is over or the term is.
func (k *tender) tend() {
	defer k.quit()
	for failures := 0; ; {
		if k.cs.t.awaitTrust() != nil {
			return
		}
		order := k.current()
		over, again, err := k.approach(&order)
		switch {
		case over || k.ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced):
			k.cs.t.lost(err)
			return
		case err != nil:
			failures++
			k.cs.t.s.log.Warn("a child run does not get on; trying again", "run", order.Child, "parent", k.parent.id, "failures", failures, "error", err)
			k.setNotice(err.Error())
			if k.cs.t.s.cfg.Backoff.Wait(k.ctx, failures) != nil {
				return
			}
			continue
		}
		if failures > 0 {
			failures = 0
			k.setNotice("")
		}
		select {
		case <-again:
		case <-k.changed:
		case <-k.parent.over:
			return
		case <-k.ctx.Done():
			return
		}
	}
}

func (k *tender) quit() {
	k.cancel()
	k.cs.mu.Lock()
	defer k.cs.mu.Unlock()
	if k.cs.tenders[k.attempt] == k {
		delete(k.cs.tenders, k.attempt)
	}
}

// report tells the parent. It waits while the parent is busy; it is false when nobody is left to be told.
func (k *tender) report(e engine.Event) bool {
	e.Attempt = k.attempt
	e.Place.Child = k.current().Child
	return k.parent.send(k.ctx, message{event: e})
}

// end tells how the attempt ended, and in which generation of the child run.
func (k *tender) end(o engine.Outcome, generation int) {
	k.report(engine.Event{Kind: engine.Ended, Outcome: &o, Generation: generation})
}

// approach brings the child run one step nearer to what is wanted of it, and tells the parent how it stands. again says
// when to look anew; over, that the parent was told the end.
func (k *tender) approach(o *childOrder) (over bool, again <-chan struct{}, err error) {
	if k.child == nil {
		end, err := k.attach(o)
		if end != nil {
			k.end(*end, 0)
		}
		if end != nil || err != nil {
			return end != nil, nil, err
		}
	}
	if k.told.version != o.version {
		// The parent may have been loaded anew, and not know what it was told.
		k.told = toldChild{version: o.version}
	}
	left := false
	select {
	case <-k.child.over: // how it stands does not change any more
		left = true
	default:
	}
	st, again := k.child.stands()
	switch {
	case st.status.Terminal():
		return k.afterEnd(o, st)
	case left:
		return k.lost(o)
	case st.status == "": // it is being loaded
		return false, again, nil
	}
	child := k.child
	switch {
	case o.kill:
		err = k.stop(o)
	case o.Hold:
		err = k.pause(st)
		k.tell(o, st)
	default:
		err = k.release(o, st)
		k.tell(o, st)
	}
	if k.child != child {
		again = atOnce()
	}
	return false, again, err
}

// lost gives up a child run that somebody has taken from the store, unless it is the term that is over.
func (k *tender) lost(o *childOrder) (over bool, again <-chan struct{}, err error) {
	if k.ctx.Err() != nil {
		return true, nil, nil
	}
	if r := k.cs.t.run(o.Child); r != nil {
		k.child = r // it was taken up again
		return false, atOnce(), nil
	}
	k.end(engine.Outcome{Kind: engine.OutcomeFailed, Message: fmt.Sprintf("run %s, which it started, is gone from the store", o.Child)}, 0)
	return true, nil, nil
}

// atOnce is a channel that nobody waits at.
func atOnce() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// stop ends the child run. It is told once, and again to terminate.
func (k *tender) stop(o *childOrder) error {
	kind := engine.Stop
	if o.Terminate {
		kind = engine.Terminate
	}
	if k.stopped == kind {
		return nil
	}
	if err := k.verb(kind); err != nil {
		return err
	}
	k.stopped = kind
	return nil
}

// pause keeps the child run from starting anything.
func (k *tender) pause(st standing) error {
	switch st.status {
	case workflow.RunQueued:
		if k.cs.t.gates.free(k.child, true) {
			k.tellPaused(true)
		}
	case workflow.RunRunning:
		return k.verb(engine.Pause)
	case workflow.RunPaused:
		k.tellPaused(true)
	}
	return nil
}

// release lets the child run go on.
func (k *tender) release(o *childOrder, st standing) error {
	switch st.status {
	case workflow.RunQueued:
		k.cs.t.gates.free(k.child, false)
	case workflow.RunPausing, workflow.RunPaused:
		return k.verb(engine.Resume)
	}
	// A child run that was made just now was never paused.
	if k.told.paused != nil || o.version > 0 || o.Epoch != k.cs.t.epoch {
		k.tellPaused(false)
	}
	return nil
}

func (k *tender) tellPaused(paused bool) {
	if k.told.paused != nil && *k.told.paused == paused {
		return
	}
	kind := engine.ChildResumed
	if paused {
		kind = engine.ChildPaused
	}
	if k.report(engine.Event{Kind: kind}) {
		k.told.paused = &paused
	}
}

// tell reports that the child run has begun, or why it has not.
func (k *tender) tell(o *childOrder, st standing) {
	if st.begun != 0 && !k.told.begun {
		k.told.begun = k.report(engine.Event{Kind: engine.Started, StartedAt: st.begun})
	}
	if why := k.cs.t.gates.notice(o.Child); st.begun == 0 && why != "" && k.told.waits != why {
		if k.report(engine.Event{Kind: engine.Held, Message: fmt.Sprintf("run %s: %s", o.Child, why)}) {
			k.told.waits = why
		}
	}
}

// verb uses a verb on the child run in the name of the parent. One that does not fit is too late, or too early: the child's
// next change decides anew.
func (k *tender) verb(kind engine.EventKind) error {
	err := k.cascade(kind, 0)
	var misfit *engine.Misfit
	if errors.As(err, &misfit) {
		k.cs.t.s.log.Debug("a verb does not fit the child run", "run", k.child.id, "verb", kind, "error", err)
		return nil
	}
	return err
}

func (k *tender) cascade(kind engine.EventKind, generation int) error {
	r, err := k.cs.t.verb(k.ctx, k.child.id, message{cascaded: true, event: engine.Event{
		Kind: kind, Task: -1, Instance: -1, Generation: generation,
		By: byCairn, Reason: fmt.Sprintf("on behalf of run %s, which started this one", k.parent.id),
	}})
	var misfit *engine.Misfit
	if !errors.As(err, &misfit) {
		k.child = r // nil: what came of it is to be found out
	}
	return err
}

// afterEnd tells the parent how the child run ended, or has it retried.
func (k *tender) afterEnd(o *childOrder, st standing) (over bool, again <-chan struct{}, err error) {
	failed := st.status == workflow.RunFailed || st.status == workflow.RunCancelled
	if o.kill || !failed || st.generation >= o.ChildGeneration {
		k.end(st.outcome(o), st.generation)
		return true, nil, nil
	}
	if o.Hold {
		k.tellPaused(true) // it is retried when its parent goes on
		_, again = k.child.stands()
		return false, again, nil
	}
	err = k.cascade(engine.Retry, o.ChildGeneration)
	var misfit *engine.Misfit
	if errors.As(err, &misfit) {
		k.end(engine.Outcome{Kind: engine.OutcomeFailed, Message: misfit.Text}, st.generation)
		return true, nil, nil
	}
	return false, atOnce(), err
}

// outcome is what the end of a child run means for the attempt that started it.
func (st *standing) outcome(o *childOrder) engine.Outcome {
	out := engine.Outcome{StartedAt: st.begun, EndedAt: st.ended}
	because := ""
	if st.reason != "" {
		because = ": " + st.reason
	}
	switch st.status {
	case workflow.RunSucceeded:
		zero := 0
		out.Kind, out.ExitCode, out.Values = engine.OutcomeExited, &zero, st.outputs
	case workflow.RunSkipped:
		out.Kind, out.Message = engine.OutcomeSkipped, fmt.Sprintf("run %s was skipped%s", o.Child, because)
	case workflow.RunCancelled:
		out.Kind, out.Message = engine.OutcomeFailed, fmt.Sprintf("run %s was cancelled%s", o.Child, because)
		if o.kill {
			out.Kind = engine.OutcomeKilled
		}
	default:
		out.Kind, out.Message = engine.OutcomeFailed, fmt.Sprintf("run %s failed%s", o.Child, because)
	}
	return out
}

// attach finds the child run, or makes it. end is not nil when there is none and will be none.
func (k *tender) attach(o *childOrder) (end *engine.Outcome, err error) {
	t := k.cs.t
	if k.child = t.run(o.Child); k.child != nil {
		return nil, nil
	}
	// Where this leadership has sent a create, only another one tells what came of it. Otherwise the run is there already, or
	// no earlier leadership makes it any more once the fence is up.
	barred := o.kill && !k.tried
	if barred {
		if err := t.fence(k.ctx, k.parent.id); err != nil {
			return nil, err
		}
	}
	if barred || o.Epoch != t.epoch || o.version > 0 || o.ChildGeneration > 1 {
		if found, err := k.find(o.Child); found || err != nil {
			return nil, err
		}
	}
	if barred {
		return &engine.Outcome{Kind: engine.OutcomeKilled, Message: "it was stopped before its run was made"}, nil
	}
	return k.create(o)
}

// find takes up the child run if the store has it.
func (k *tender) find(id workflow.RunID) (found bool, err error) {
	r := newRun(k.cs.t, id)
	r.sought = true
	r = k.cs.t.start(r)
	select {
	case <-r.known:
		k.child = r
		return true, nil
	case <-r.over:
	case <-k.ctx.Done():
		return false, k.ctx.Err()
	}
	select {
	case <-r.known:
		k.child = r
		return true, nil
	default:
		return false, k.ctx.Err()
	}
}

// create makes the child run. end is not nil when it cannot be.
func (k *tender) create(o *childOrder) (end *engine.Outcome, err error) {
	t := k.cs.t
	select {
	case t.loads <- struct{}{}:
		defer func() { <-t.loads }()
	case <-k.ctx.Done():
		return nil, k.ctx.Err()
	}
	made, err := k.compile(o)
	if err != nil {
		return &engine.Outcome{Kind: engine.OutcomeInvalid, Message: err.Error()}, nil
	}
	m, encoded, err := t.s.childMachine(made)
	if err != nil {
		return &engine.Outcome{Kind: engine.OutcomeInvalid, Message: err.Error()}, nil
	}
	state := m.NewState(k.childInput(o, made))
	// A retry takes up the child of the attempt before. Where that was never made, what is made now is that retry.
	state.Head.Generation = max(state.Head.Generation, o.ChildGeneration)
	records, err := m.EncodeDirty(state)
	if err != nil {
		return nil, fmt.Errorf("create run %s: %w", o.Child, err)
	}
	in := &state.Input
	k.tried = true
	t.s.cfg.fault(FaultBeforeChild)
	ctx, cancel := context.WithTimeout(k.ctx, t.s.cfg.CallTimeout)
	_, err = t.s.cfg.Store.Create(ctx, t.epoch, NewRun{
		ID: in.Run, Workflow: in.Workflow, Namespace: in.Namespace, Parent: in.Parent, Labels: in.Labels, CreatedAt: in.CreatedAt,
		Definition: Definition{Hash: in.Definition, Bytes: encoded}, Records: records,
	})
	cancel()
	t.s.cfg.fault(FaultAfterChild)
	switch {
	case err == nil:
		t.wrote.Store(true)
		t.s.log.Info("child run started", "run", in.Run, "workflow", in.Workflow, "parent", k.parent.id, "task", o.Task)
		r := newRun(t, in.Run)
		r.machine, r.state = m, state
		now := k.current()                          // its parent may have been paused meanwhile
		r.told, r.held = true, now.Hold || now.kill // nobody else knows the run yet
		k.child = t.start(r)
		return nil, nil
	case errors.Is(err, ErrExists):
		k.child = t.start(newRun(t, in.Run))
		return nil, nil
	}
	return nil, err // says itself what was being done
}

// compile gives what the child run is made of, or why it cannot be.
func (k *tender) compile(o *childOrder) (ChildRun, error) {
	if o.Body == nil {
		return ChildRun{}, errors.New("what it starts cannot be evaluated to the same any more as when its start was recorded")
	}
	var body workflow.ChildBody
	if err := json.Unmarshal(o.Body, &body); err != nil {
		return ChildRun{}, fmt.Errorf("what it starts cannot be read: %w", err)
	}
	if k.cs.t.s.cfg.Children == nil {
		return ChildRun{}, errors.New("runs cannot start other runs here")
	}
	return k.cs.t.s.cfg.Children(k.def, body, workflow.RunValues{
		ID: string(o.Child), Trigger: triggerWorkflow,
		ScheduledAt: k.input.ScheduledAt, StartedAt: k.cs.t.clock.now(),
	})
}

// triggerWorkflow is the trigger of a child run.
const triggerWorkflow = "workflow"

// childInput is the input of a child run: it belongs to whoever its parent belongs to, and to the same schedule.
func (k *tender) childInput(o *childOrder, made ChildRun) engine.Input {
	labels := maps.Clone(k.input.Labels)
	if len(made.Definition.Labels) > 0 && labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, made.Definition.Labels)
	return engine.Input{
		Run: o.Child, Workflow: made.Definition.Name, Definition: made.Definition.Hash, Namespace: made.Definition.Namespace,
		Namespaces: k.input.Namespaces, Params: made.Params, Given: made.Given, Labels: labels, Trigger: triggerWorkflow, By: k.input.By,
		CreatedAt: k.cs.t.clock.now(), ScheduledAt: k.input.ScheduledAt, Parent: k.attempt, Depth: o.Depth,
	}
}
