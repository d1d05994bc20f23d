// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workers"
	"github.com/cairnflow/cairn/internal/workflow"
)

const (
	// lossLook is how often the leader asks Consul for lost machines.
	lossLook = time.Second
	// fullLook is how often it looks at all workers although none is known to be lost.
	fullLook = 30 * time.Second
	// declaredFor is how long new tasks are kept off a worker that was declared dead, unless Nomad loses it before: longer than
	// Nomad's servers take for that after an election.
	declaredFor = 10 * time.Minute
	// givenUpAtOnce is how many attempts are given up at the same time.
	givenUpAtOnce = 16
	// giveUpPatience is how long giving up one attempt may take.
	giveUpPatience = 10 * time.Second
)

// losses has the leader notice with Consul's help that a worker is lost, before Nomad does (consul.md, "Worker failover"): new
// tasks are kept off it, and those of its tasks that may run twice are started elsewhere. For all others Nomad's word is awaited.
type losses struct {
	look      func(context.Context) (workers.View, []string, error)
	lost      func(ctx context.Context, datacenter string) ([]string, error)
	jobs      *nomad.Executor
	scheduler *scheduler.Scheduler
	log       hclog.Logger

	// What follows belongs to the goroutine of keep.
	epoch      uint64
	suspicions workers.Suspicions
	lookedAt   time.Time
	ended      map[string]map[workflow.AttemptID]bool // given up already, by the ID of the worker that is confirmed to be lost

	mu       sync.Mutex // guards what follows
	view     workers.View
	declared map[string]time.Time // workers that somebody has declared dead, by ID
}

func newLosses(g *group, lost func(context.Context, string) ([]string, error)) *losses {
	return &losses{
		look: g.look, lost: lost, jobs: g.jobs.nomad, scheduler: g.scheduler, log: g.log.Named("workers"), declared: map[string]time.Time{},
	}
}

// keep looks after the workers whenever this server leads, until ctx ends.
func (l *losses) keep(ctx context.Context) {
	tick := time.NewTicker(lossLook)
	defer tick.Stop()
	for {
		l.forget()
		epoch, err := l.scheduler.AwaitReconciled(ctx)
		if err != nil {
			return // ctx has ended
		}
		if epoch != l.epoch { // what another leader saw is not known
			l.epoch, l.suspicions, l.lookedAt = epoch, workers.Suspicions{}, time.Time{}
			l.ended = map[string]map[workflow.AttemptID]bool{}
		}
		l.turn(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// forget lets go of what was seen, on a server that does not lead.
func (l *losses) forget() {
	if l.scheduler.Leading() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view = workers.View{}
}

// turn looks at the workers, if there is a reason to, and acts upon what it sees.
func (l *losses) turn(ctx context.Context) {
	if time.Since(l.lookedAt) < fullLook && !l.alarmed(ctx) {
		return
	}
	view, troubles, err := l.look(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.log.Debug("the workers cannot be looked at", "error", err)
		}
		return
	}
	for _, t := range troubles {
		l.log.Debug("not all of the workers can be looked at", "error", t)
	}
	l.lookedAt = time.Now()
	l.jobs.Avoid(l.avoided(&view))
	l.tell(view)
	confirmed := l.suspicions.Look(view, time.Now())
	maps.DeleteFunc(l.ended, func(id string, _ map[workflow.AttemptID]bool) bool {
		return !slices.ContainsFunc(confirmed, func(w workers.Worker) bool { return w.ID == id })
	})
	for _, w := range confirmed {
		l.confirm(ctx, &w)
	}
}

// alarmed reports whether a worker is suspect, or may have become it since all were looked at.
func (l *losses) alarmed(ctx context.Context) bool {
	l.mu.Lock()
	machines := map[workers.MachineID]bool{}
	datacenters := map[string]bool{}
	for _, w := range l.view.Workers {
		if w.Status == workers.Suspect {
			l.mu.Unlock()
			return true
		}
		if w.Machine.Name != "" && w.Status != workers.Lost {
			machines[w.Machine], datacenters[w.Machine.Datacenter] = true, true
		}
	}
	l.mu.Unlock()
	for datacenter := range datacenters {
		names, err := l.lost(ctx, datacenter)
		if err != nil && ctx.Err() == nil {
			l.log.Debug("Consul cannot be asked for lost machines", "error", err)
		}
		for _, name := range names {
			if machines[workers.MachineID{Datacenter: datacenter, Name: name}] {
				return true
			}
		}
	}
	return false
}

// tell keeps what was seen, and logs what has changed.
func (l *losses) tell(view workers.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := map[string]workers.Status{}
	for _, w := range l.view.Workers {
		before[w.ID] = w.Status
	}
	for _, w := range view.Workers {
		was, known := before[w.ID]
		bad := w.Status == workers.Suspect || w.Status == workers.Lost || w.Status == workers.ClientDown
		switch {
		case was == w.Status:
		case bad:
			l.log.Warn("a worker is "+string(w.Status), "worker", w.Name, "id", w.ID, "reason", w.Reason)
		case known:
			l.log.Info("a worker is "+string(w.Status), "worker", w.Name, "id", w.ID, "before", was, "reason", w.Reason)
		}
	}
	if view.Withheld != "" && view.Withheld != l.view.Withheld {
		l.log.Warn("nothing is done on Consul's word", "reason", view.Withheld)
	}
	l.view = view
}

// avoided are the workers that get no new tasks: the suspects, unless they are too many, and those that somebody has declared
// dead and Nomad has not lost yet.
func (l *losses) avoided(view *workers.View) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, w := range view.Workers {
		at, declared := l.declared[w.ID]
		if declared && (w.Status == workers.Lost || time.Since(at) > declaredFor) {
			delete(l.declared, w.ID)
			declared = false
		}
		if declared || w.Status == workers.Suspect && view.Withheld == "" {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// declare notes that somebody knows a worker to be off.
func (l *losses) declare(id string) {
	l.mu.Lock()
	l.declared[id] = time.Now()
	view := l.view
	l.mu.Unlock()
	l.jobs.Avoid(l.avoided(&view))
}

// confirm asks the client of a suspect, and gives it up if there is no answer.
func (l *losses) confirm(ctx context.Context, w *workers.Worker) {
	answers, err := l.jobs.ClientAnswers(ctx, w.ID, w.Region)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			l.log.Warn("whether a suspect lives cannot be asked", "worker", w.Name, "error", err)
		}
		return
	case answers:
		l.log.Warn("Consul has lost a worker whose Nomad client answers; it stays", "worker", w.Name, "id", w.ID)
		l.suspicions.Heard(w.ID, time.Now())
		return
	}
	ended, err := l.giveUp(ctx, w, "", fmt.Sprintf("worker %s is lost: Consul has lost the machine, and its Nomad client does not answer", w.Name))
	fresh, known := 0, map[workflow.AttemptID]bool{}
	for _, p := range ended {
		if known[p.Attempt] = true; !l.ended[w.ID][p.Attempt] {
			fresh++
		}
	}
	if l.ended[w.ID] = known; fresh > 0 {
		l.log.Warn("a worker is given up; what may run twice moves", "worker", w.Name, "id", w.ID, "attempts", fresh)
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("attempts on a worker that is lost could not be given up; trying again", "worker", w.Name, "error", err)
	}
}

// giveUp ends the attempts on a worker, and returns those that are not waited for any more. Without by, nobody is sure, and only
// those are ended that may run twice.
func (l *losses) giveUp(ctx context.Context, w *workers.Worker, by, why string) ([]nomad.Placed, error) {
	var mu sync.Mutex // guards ended and failed
	var ended []nomad.Placed
	var failed error
	places := make(chan struct{}, givenUpAtOnce)
	var group sync.WaitGroup
	last := workflow.AttemptID("")
	for _, p := range l.jobs.Placed()[w.ID] {
		if p.Attempt == last { // several allocations of one
			continue
		}
		last = p.Attempt
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, giveUpPatience)
			defer cancel()
			err := l.scheduler.Verb(ctx, p.Run, engine.Event{
				Kind: engine.WorkerLost, Attempt: p.Attempt, By: by, Message: why, Place: engine.Place{Node: w.Name, AllocID: p.Alloc},
			})
			mu.Lock()
			defer mu.Unlock()
			var misfit *engine.Misfit
			switch {
			case errors.As(err, &misfit), errors.Is(err, scheduler.ErrNotFound): // it is over, or to be waited for
			case err != nil:
				failed = err
			default:
				ended = append(ended, p)
			}
		})
	}
	group.Wait()
	slices.SortFunc(ended, func(a, b nomad.Placed) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return ended, failed
}

// counts says how many workers are how, as they were last seen.
func (l *losses) counts() map[workers.Status]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[workers.Status]int{}
	for _, w := range l.view.Workers {
		out[w.Status]++
	}
	return out
}
