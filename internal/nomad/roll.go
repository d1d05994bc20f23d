// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
)

// A worker tells the end of a task once. Where Nomad was restored from a snapshot since, it calls the task running for ever, and
// stopping its job or restarting its client changes nothing about that (seen with 1.11.3). So the workers are asked for
// everything that was placed before the restore and is said to run.

// rollSignal is Nomad's name for signal 0, which does nothing but find out whether there is a process. A client that does not know
// the name sends SIGINT instead, so that only those are asked which list it among their signals.
const (
	rollSignal  = "SIGNULL"
	nodeSignals = "os.signals"
)

const (
	// rollAgain is the time after which a worker is asked again that says that a task has ended: the news of it may be under way.
	rollAgain = 5 * time.Second
	// rollPause is the time after which it is asked again where its answer does not say enough.
	rollPause = 30 * time.Second
)

// roll is how far the roll is called for one attempt.
type roll struct {
	answered map[string]bool // by the ID of the allocation: a task of it runs, or nobody can ask
	silent   string          // the allocation whose worker has said once that nothing of it runs
	next     time.Time       // when to ask next
}

// Doubt implements scheduler.Doubter.
func (e *Executor) Doubt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doubts = true
	clear(e.rolls)
	clear(e.mute)
	clear(e.signals)
	for _, a := range e.attempts {
		a.roll = roll{}
	}
}

// callRoll has the workers of a region asked for all that was placed up to an index, in place of what was to be asked before.
// The caller holds mu.
func (e *Executor) callRoll(region string, index uint64) {
	e.rolls[region] = index
	clear(e.signals)
	for r := range e.mute {
		if r.region == region {
			delete(e.mute, r)
		}
	}
	for _, a := range e.attempts {
		if a.realm.region == region {
			a.roll = roll{}
		}
	}
}

// toAsk is an allocation of which Nomad says that it runs, or will, and its worker has not; nil where there is none. The
// caller holds mu.
func (e *Executor) toAsk(a *attempt) (first *alloc) {
	upTo := e.rolls[a.realm.region]
	if upTo == 0 {
		return nil
	}
	for _, alloc := range a.allocs {
		open := (alloc.ClientStatus == clientRunning || alloc.ClientStatus == clientPending) && !alloc.ghost
		asked := a.roll.answered[alloc.ID] || alloc.CreateIndex > upTo || e.mute[a.realm]
		if open && (alloc.unknown || !asked) && (first == nil || alloc.CreateIndex < first.CreateIndex) {
			first = alloc
		}
	}
	return first
}

// presence is what a worker says of an allocation.
type presence string

const (
	present presence = "a task of it runs"
	absent  presence = "its tasks have ended"
	unclear presence = "nobody knows"
	unasked presence = "nobody can ask"
)

// ask asks the worker of one allocation, and draws what follows.
func (e *Executor) ask(ctx context.Context, a *attempt) error {
	e.mu.Lock()
	of := e.toAsk(a)
	if of == nil {
		e.mu.Unlock()
		return nil
	}
	var tasks []string
	begun := false
	for _, t := range of.full((&facts{groups: a.groups, whole: a.whole}).shape(of)).tasks {
		s := of.TaskStates[t.name]
		if s == nil || s.State != taskDead {
			tasks = append(tasks, t.name)
			begun = begun || s != nil && s.started()
		}
	}
	r, again := a.realm, rollAgain
	e.mu.Unlock()
	is, err := absent, error(nil)
	if of.unknown { // its worker ends it
		again = e.cfg.LostAfter
	} else {
		is, err = e.presence(ctx, r, of, tasks, begun)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if answered(err) == http.StatusForbidden {
		if !e.mute[r] {
			e.mute[r] = true
			e.log.Warn("Nomad may have been restored, and the workers cannot be asked what runs: what had ended before that may be waited for in vain. "+
				"Give the server's policy alloc-lifecycle, and restart the server", "realm", r, "error", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	known := a.allocs[of.ID]
	switch {
	case known == nil:
	case is == present, is == unasked:
		if a.roll.answered == nil {
			a.roll.answered = map[string]bool{}
		}
		a.roll = roll{answered: a.roll.answered}
		a.roll.answered[of.ID] = true
	case is == unclear:
		a.roll.silent, a.roll.next = "", time.Now().Add(rollPause)
	case a.roll.silent != of.ID:
		a.roll.silent, a.roll.next, a.look = of.ID, time.Now().Add(again), true
	case known.ModifyIndex == of.ModifyIndex:
		known.ghost = true
		a.roll.silent, a.roll.next = "", time.Time{}
		e.log.Warn("Nomad was restored, and does not know of the end of a task", "job", a.jobID, "alloc", of.ID, "node", of.NodeName)
	}
	return nil
}

// presence asks the worker for the tasks of an allocation. begun: one of them is known to have run.
func (e *Executor) presence(ctx context.Context, r realm, of *alloc, tasks []string, begun bool) (presence, error) {
	if able, err := e.understands(ctx, r, of); err != nil {
		return unclear, err
	} else if !able {
		return unasked, nil
	}
	ended := ""
	for _, task := range tasks {
		err := e.signal(ctx, r, of.ID, task)
		var said *statusError
		switch {
		case err == nil:
			return present, nil
		case !errors.As(err, &said):
			return unclear, err
		case strings.Contains(said.body, "Task not running"):
			ended = task
		case strings.Contains(said.body, "Task not found"): // none of the group's
		case strings.Contains(strings.ToLower(said.body), "signal"): // of a driver that does not know this one, and has a task to refuse it for
			return present, nil
		case collected(err):
			return unclear, nil // it may be about to get it
		default:
			return unclear, err
		}
	}
	switch {
	case ended == "":
		return unclear, nil
	case begun:
		return absent, nil
	}
	// A task without a process has ended, or waits for its image. Nomad gives out the logs of the one only.
	_, err := e.file(ctx, r, "/v1/client/fs/logs/"+of.ID, url.Values{
		"task": {ended}, "type": {"stdout"}, "origin": {"end"}, "offset": {"0"}, "follow": {"false"}, "plain": {"false"},
	}, 1)
	var said *statusError
	switch {
	case err == nil, missingFile(err):
		return absent, nil
	case errors.As(err, &said), errors.Is(err, errCollected):
		return unclear, nil
	}
	return unclear, err
}

// understands reports whether an allocation's client knows the signal.
func (e *Executor) understands(ctx context.Context, r realm, of *alloc) (bool, error) {
	e.mu.Lock()
	able, known := e.signals[of.NodeID]
	e.mu.Unlock()
	if known {
		return able, nil
	}
	var node *nomadapi.Node
	err := e.readNode(ctx, func(ctx context.Context, secret string) (err error) {
		node, _, err = e.client.api.Nodes().Info(of.NodeID, r.query(ctx, secret))
		return err
	})
	if err != nil {
		return false, err
	}
	able = slices.Contains(strings.Split(node.Attributes[nodeSignals], ","), rollSignal)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signals[of.NodeID] = able
	if !able {
		e.log.Warn("Nomad may have been restored, and the client of a worker is too old to be asked what runs there", "node", node.Name)
	}
	return able, nil
}

func (e *Executor) signal(ctx context.Context, r realm, alloc, task string) error {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return err
	}
	defer release()
	return e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var none struct{}
		return e.client.post(ctx, r, "/v1/client/allocation/"+alloc+"/signal", map[string]string{"Task": task, "Signal": rollSignal}, &none, secret)
	})
}

// ghost is an allocation that has ended, nobody knows how; nil where there is none.
func (f *facts) ghost() *alloc {
	if i := slices.IndexFunc(f.allocs, func(a *alloc) bool { return a.ghost }); i >= 0 {
		return f.allocs[i]
	}
	return nil
}

// vanished is the outcome of an attempt with a ghost.
func vanished(a *alloc) *engine.Outcome {
	return outcome(engine.OutcomeLost, "it has ended on %s, and Nomad was restored to a state of before that: nobody knows how it ended", a.NodeName)
}
