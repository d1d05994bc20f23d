// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// A client tells the end of a task once. Where Nomad was restored from a snapshot since, it calls the task running for ever, and
// neither stopping its job nor restarting its client changes anything about that (seen with 1.11.3). So the clients are asked for
// what was placed before the restore and is said to run:
//
//	asked ─▶ present: it is there, and its end will be told; or nobody can ask, and nothing is done before its job is stopped
//	  └────▶ silent ── for long enough ─▶ suspect: its job is stopped ── for long enough ─▶ ghost: it is over, nobody knows how
//
// Where the client tells something by itself on that way, as the end of what was being started, that counts.

// rollSignal is Nomad's name for signal 0, which finds out whether there is a process, and does nothing to it. Nomad notes it among
// the events of the task. A client that does not know the name sends SIGINT instead, and so does a driver that is a program of its
// own and does not: only clients are asked that list it among their signals, and only for tasks of Nomad's own drivers.
const (
	rollSignal  = "SIGNULL"
	nodeSignals = "os.signals"
)

var rollDrivers = []string{"raw_exec", "exec", "java", "docker", "qemu", "mock_driver"}

// unclearFactor is how many times longer a silence lasts that may be that of a task which is about to begin: its image arrives.
const unclearFactor = 40

// inquiry is how far an allocation was asked for.
type inquiry struct {
	done   bool      // it is there
	cannot bool      // nobody can ask
	silent time.Time // since when it says nothing of itself; zero: it was not asked, or could not be
	index  uint64    // its ModifyIndex then: with any news the silence begins anew
	next   time.Time // when to ask
}

var _ scheduler.Doubter = (*Executor)(nil)

// Doubt implements scheduler.Doubter.
func (e *Executor) Doubt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doubts, e.doubted = true, workflow.At(e.cfg.Now())
	clear(e.rolls)
	e.callAnew(func(realm) bool { return true })
}

// Doubts reports whether Nomad may still take something for running that has ended.
func (e *Executor) Doubts() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.attempts {
		upTo, called := e.rolls[a.realm.region]
		switch {
		case a.outcome != nil:
		case a.accepted == 0:
			if e.doubts && a.start.IntentAt != 0 && a.start.IntentAt < e.doubted { // Nomad was not reached for it yet
				return true
			}
		case !called:
			if e.doubts {
				return true
			}
		case a.accepted > upTo: // it is of after the restore
		case !a.listed, a.look, slices.ContainsFunc(a.open(upTo), func(x *alloc) bool { return !a.inquiry(x).done && !a.inquiry(x).cannot }):
			return true
		}
	}
	return false
}

// callRoll has the workers of a region asked for all jobs that were accepted up to an index. The caller holds mu.
func (e *Executor) callRoll(region string, index uint64) {
	e.rolls[region] = index
	e.callAnew(func(r realm) bool { return r.region == region })
}

func (e *Executor) callAnew(in func(realm) bool) {
	clear(e.able)
	for r := range e.mute {
		if in(r) {
			delete(e.mute, r)
		}
	}
	for _, a := range e.attempts {
		if in(a.realm) {
			a.roll = nil
		}
	}
}

// inquiry is that of an allocation. The caller holds mu.
func (a *attempt) inquiry(of *alloc) *inquiry {
	if a.roll == nil {
		a.roll = map[string]*inquiry{}
	}
	if a.roll[of.ID] == nil {
		a.roll[of.ID] = &inquiry{}
	}
	return a.roll[of.ID]
}

// open are the allocations of an attempt that was accepted up to an index of which Nomad says that they run, or will. The caller
// holds mu.
func (a *attempt) open(upTo uint64) (list []*alloc) {
	if a.accepted > upTo {
		return nil
	}
	for _, alloc := range a.allocs {
		if (alloc.ClientStatus == clientRunning || alloc.ClientStatus == clientPending) && !alloc.ghost {
			list = append(list, alloc)
		}
	}
	return list
}

// toAsk is the allocation to ask for next, and when; nil where there is none. The caller holds mu.
func (e *Executor) toAsk(a *attempt) (of *alloc, when time.Time) {
	for _, alloc := range a.open(e.rolls[a.realm.region]) {
		q := a.inquiry(alloc)
		if next := later(q.next, e.mute[a.realm]); !q.done && (of == nil || next.Before(when)) {
			of, when = alloc, next
		}
	}
	return of, when
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// presence is what a worker says of an allocation.
type presence string

const (
	present   presence = "a task of it runs"
	absent    presence = "its tasks have begun, and run no more"
	unclear   presence = "it does not run, and may not have begun"
	unasked   presence = "nobody can ask"
	unreached presence = "the worker does not answer"
)

// ask asks the worker of one allocation, and draws what follows.
func (e *Executor) ask(ctx context.Context, a *attempt) error {
	e.mu.Lock()
	of, _ := e.toAsk(a)
	if of == nil {
		e.mu.Unlock()
		return nil
	}
	r, shape := a.realm, of.full((&facts{groups: a.groups, whole: a.whole}).shape(of))
	e.mu.Unlock()
	is, err := absent, error(nil)
	if !of.unknown {
		is, err = e.presence(ctx, r, of, shape)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case answered(err) == http.StatusForbidden:
		if e.mute[r].IsZero() {
			e.log.Warn("Nomad may have been restored, and the workers may not be asked what runs: what had ended before that may be waited for in vain. "+
				"Give the token of the server the policy that the guide names", "realm", r, "error", err)
		}
		e.mute[r] = time.Now().Add(unclearFactor * e.cfg.RollPatience)
		return nil
	case err != nil:
		e.log.Debug("a worker cannot be asked what runs; trying again", "job", a.jobID, "node", of.NodeName, "error", err)
		is = unreached
	}
	if known := a.allocs[of.ID]; known != nil {
		e.conclude(a, known, is)
	}
	return nil
}

// conclude draws what follows from an answer. The caller holds mu.
func (e *Executor) conclude(a *attempt, of *alloc, is presence) {
	q, now := a.inquiry(of), time.Now()
	q.next = now.Add(e.cfg.RollPatience)
	patience := e.cfg.RollPatience
	q.cannot = is == unasked
	switch {
	case of.unknown:
		patience = e.cfg.LostAfter
	case is == unclear, is == unasked:
		patience *= unclearFactor
	}
	switch {
	case a.settledJob && is == absent: // its worker was told to end it
		patience = a.killTimeout + e.cfg.LossMargin
	case a.settledJob: // the same, and it may be about to begin, which a stop does not keep it from
		patience += a.killTimeout
	}
	switch {
	case is == present:
		q.done = true
	case is == unasked && !a.settledJob:
		q.silent, q.next = time.Time{}, now.Add(patience)
		return
	case is == unreached:
		q.silent = time.Time{}
		return
	case q.silent.IsZero() || q.index != of.ModifyIndex || a.settledJob && q.silent.Before(a.settledAt):
		q.silent, q.index, a.look = now, of.ModifyIndex, true
	case now.Sub(q.silent) < patience:
	case a.settledJob:
		of.ghost = true
		e.log.Warn("Nomad says that a task runs, and its worker does not: it is over, and nobody knows how it ended",
			"job", a.jobID, "alloc", of.ID, "node", of.NodeName, "worker", string(is))
	default:
		of.suspect = true
		e.log.Warn("Nomad says that a task runs, and its worker does not; stopping its job, to be sure", "job", a.jobID, "alloc", of.ID, "node", of.NodeName)
	}
	if end := q.silent.Add(patience); end.After(now) && end.Before(q.next) {
		q.next = end
	}
}

// presence asks the worker for the tasks of an allocation.
func (e *Executor) presence(ctx context.Context, r realm, of *alloc, g *shape) (presence, error) {
	if able, err := e.understands(ctx, r, of); err != nil || !able {
		return unasked, err
	}
	release, err := slot(ctx, e.client.roll)
	if err != nil {
		return unreached, err
	}
	defer release()
	is, blind := unasked, len(g.drivers) == 0
	for _, t := range g.tasks {
		s := of.TaskStates[t.name]
		driver, own := g.drivers[t.name]
		switch {
		case s != nil && s.State == taskDead, !own: // Nomad has added it to the group, and ends it with the others
			continue
		case !slices.Contains(rollDrivers, driver):
			blind = true
			continue
		}
		task, err := e.taskPresence(ctx, r, of, t.name, s)
		if err != nil || task == present {
			return task, err
		}
		if is == unasked || task == unclear {
			is = task
		}
	}
	if blind {
		return unasked, nil
	}
	return is, nil
}

// taskPresence asks the worker for one task. s is what Nomad says of it; nil: nothing.
func (e *Executor) taskPresence(ctx context.Context, r realm, of *alloc, task string, s *taskState) (presence, error) {
	err := e.signal(ctx, r, of.ID, task)
	var said *statusError
	switch {
	case err == nil:
		return present, nil
	case !errors.As(err, &said) || said.code == http.StatusForbidden:
		return unreached, err
	case strings.Contains(said.body, "Task not running"):
	case collected(err), strings.Contains(said.body, "Task not found"): // it may be about to get it
		return unclear, nil
	case strings.Contains(strings.ToLower(said.body), "signal"): // of a driver that refuses this one, of a task that is there
		return present, nil
	default:
		return unreached, err
	}
	switch {
	case s != nil && s.State == taskRunning:
		return absent, nil
	case s != nil && s.started(): // it waits between two processes, by its restart policy
		return unclear, nil
	}
	// A task without a process has ended, or waits for its image. Nomad gives out the logs of the one only.
	_, err = e.file(ctx, r, "/v1/client/fs/logs/"+of.ID, url.Values{
		"task": {task}, "type": {"stdout"}, "origin": {"end"}, "offset": {"0"}, "follow": {"false"}, "plain": {"false"},
	}, 1)
	switch {
	case err == nil, missingFile(err):
		return absent, nil
	case errors.As(err, &said), errors.Is(err, errCollected):
		return unclear, nil
	}
	return unreached, err
}

// understands reports whether an allocation's client knows the signal.
func (e *Executor) understands(ctx context.Context, r realm, of *alloc) (bool, error) {
	e.mu.Lock()
	able := e.able[of.NodeID]
	e.mu.Unlock()
	if able {
		return true, nil
	}
	var node *nomadapi.Node
	err := e.readNode(ctx, func(ctx context.Context, secret string) (err error) {
		node, _, err = e.client.api.Nodes().Info(of.NodeID, r.query(ctx, secret))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read node %s: %w", of.NodeName, err)
	}
	able = slices.Contains(strings.Split(node.Attributes[nodeSignals], ","), rollSignal)
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.able[of.NodeID]; !known && !able {
		e.log.Warn("Nomad may have been restored, and the client of a worker is too old to be asked what runs there", "node", node.Name)
	}
	e.able[of.NodeID] = able
	return able, nil
}

func (e *Executor) signal(ctx context.Context, r realm, alloc, task string) error {
	err := e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var none struct{}
		return e.client.post(ctx, r, "/v1/client/allocation/"+alloc+"/signal", map[string]string{"Task": task, "Signal": rollSignal}, &none, secret)
	})
	if err != nil {
		return fmt.Errorf("send a task signal 0, which takes alloc-lifecycle: %w", err)
	}
	return nil
}

// vanished is the outcome of an attempt of which an allocation is suspect; nil where none is.
func (f *facts) vanished() *engine.Outcome {
	for _, a := range f.allocs {
		if a.suspect || a.ghost {
			return outcome(engine.OutcomeLost, "Nomad was restored, or the store, and worker %s does not run it any more: nobody knows how it ended", a.NodeName)
		}
	}
	return nil
}
