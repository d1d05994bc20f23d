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
	// declaredFor is how long the word of a person stands that a worker is off: longer than Nomad's servers take to notice after an
	// election.
	declaredFor = 10 * time.Minute
	// lostFor is how long it is acted upon after Nomad has lost the worker too: until all that was there is known.
	lostFor = time.Minute
	// askedAtOnce is how many clients are asked for themselves at the same time.
	askedAtOnce = 8
	// answerWithin is how long the client of a suspect may take to answer, and sureWithin that of a worker which a person declares
	// dead: nothing protects its tasks after that.
	answerWithin, sureWithin = 2 * time.Second, 5 * time.Second
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
	jobs      placements
	scheduler leading
	log       hclog.Logger

	// What follows belongs to the goroutine of keep.
	epoch      uint64
	suspicions workers.Suspicions
	lookedAt   time.Time
	ended      map[string]map[workflow.AttemptID]bool // given up already, by the ID of the worker that is confirmed to be lost

	mu       sync.Mutex // guards what follows
	view     workers.View
	declared map[string]declaration // by the ID of the worker
	avoiding []string               // IDs of workers
}

// placements is what the losses need of the executor.
type placements interface {
	Avoid(nodes []string)
	ClientAnswers(ctx context.Context, node, region string, within time.Duration) (bool, error)
	Placed() map[string][]nomad.Placed
}

// leading is what they need of the scheduler.
type leading interface {
	Leading() bool
	AwaitReconciled(ctx context.Context) (epoch uint64, err error)
	Verb(ctx context.Context, id workflow.RunID, verb engine.Event) error
}

func newLosses(g *group, lost func(context.Context, string) ([]string, error)) *losses {
	return &losses{
		look: g.look, lost: lost, jobs: g.jobs.nomad, scheduler: g.scheduler, log: g.log.Named("workers"), declared: map[string]declaration{},
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
		if epoch != l.epoch {
			l.begin(epoch)
		}
		l.turn(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// begin begins a leadership: what others have seen meanwhile is not known.
func (l *losses) begin(epoch uint64) {
	l.epoch, l.suspicions, l.lookedAt = epoch, workers.Suspicions{}, time.Time{}
	l.ended = map[string]map[workflow.AttemptID]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view, l.declared, l.avoiding = workers.View{}, map[string]declaration{}, nil
	l.jobs.Avoid(nil)
}

// forget lets go of what was seen while this server does not lead, or may not trust that it does.
func (l *losses) forget() {
	if l.scheduler.Leading() {
		return
	}
	l.lookedAt = time.Time{}
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
	confirmed := l.suspicions.Look(view, l.lookedAt)
	declared := l.standing(&view)
	l.avoid(&view)
	l.tell(view)
	maps.DeleteFunc(l.ended, func(id string, _ map[workflow.AttemptID]bool) bool {
		same := func(w workers.Worker) bool { return w.ID == id }
		return !slices.ContainsFunc(confirmed, same) && !slices.ContainsFunc(declared, same)
	})
	all := slices.DeleteFunc(confirmed, func(w workers.Worker) bool { // the word of a person is more
		return slices.ContainsFunc(declared, func(d workers.Worker) bool { return d.ID == w.ID })
	})
	suspects := len(all)
	all = append(all, declared...)
	placed := l.jobs.Placed() // before they are asked: what comes later may be on a worker that is back
	answers := l.ask(ctx, all)
	for i := range all {
		switch w := &all[i]; {
		case answers[i] != silent:
			l.heard(w, answers[i], i >= suspects)
		case i < suspects:
			l.abandon(ctx, w, placed[w.ID], "", fmt.Sprintf(
				"worker %s is lost: Consul has lost the machine, and its Nomad client does not answer", w.Name))
		default:
			d := l.declaration(w.ID)
			l.abandon(ctx, w, placed[w.ID], d.by, d.why)
		}
	}
	if len(all) > 0 { // some may have answered
		l.avoid(&view)
	}
}

// alarmed reports whether a worker is suspect, or may have become it since all were looked at. One whose client has just answered
// is not: it is asked again in time.
func (l *losses) alarmed(ctx context.Context) bool {
	l.mu.Lock()
	if len(l.declared) > 0 {
		l.mu.Unlock()
		return true
	}
	machines := map[workers.MachineID]bool{}
	datacenters := map[string]bool{}
	for _, w := range l.view.Workers {
		quiet := l.suspicions.Answered(w.ID, time.Now())
		if w.Status == workers.Suspect && !quiet {
			l.mu.Unlock()
			return true
		}
		if w.Machine.Name != "" && w.Status != workers.Lost && !quiet {
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

// avoid keeps new tasks off some workers: the suspects whose clients have not answered, unless they are too many, and those
// that somebody has declared dead.
func (l *losses) avoid(view *workers.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, w := range view.Workers {
		_, declared := l.declared[w.ID]
		suspect := w.Status == workers.Suspect && view.Withheld == "" && !l.suspicions.Answered(w.ID, time.Now())
		if declared || suspect {
			ids = append(ids, w.ID)
		}
	}
	l.avoiding = ids
	l.jobs.Avoid(ids)
}

// declaration is the word of a person that a worker is off.
type declaration struct {
	at      time.Time
	lost    time.Time // when Nomad was first seen to have lost it; zero: it has not
	by, why string
}

// declare notes that somebody knows a worker to be off: what is found there from now on is given up too, until its client answers.
func (l *losses) declare(id, by, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.declared[id] = declaration{at: time.Now(), by: by, why: why}
	l.avoiding = append(l.avoiding, id)
	l.jobs.Avoid(l.avoiding)
}

func (l *losses) declaration(id string) declaration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.declared[id]
}

// standing are the workers that somebody has declared dead, a while ago at most.
func (l *losses) standing(view *workers.View) (list []workers.Worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.declared, func(_ string, d declaration) bool {
		return time.Since(d.at) > declaredFor || !d.lost.IsZero() && time.Since(d.lost) > lostFor
	})
	for _, w := range view.Workers {
		d, ok := l.declared[w.ID]
		if !ok {
			continue
		}
		if w.Status == workers.Lost && d.lost.IsZero() {
			d.lost = time.Now()
			l.declared[w.ID] = d
		}
		list = append(list, w)
	}
	return list
}

// word is what asking a client gave.
type word int

const (
	silent word = iota
	answering
	unasked // nobody could ask it
)

// ask asks the clients of workers for themselves, several at the same time.
func (l *losses) ask(ctx context.Context, list []workers.Worker) []word {
	out := make([]word, len(list))
	places := make(chan struct{}, askedAtOnce)
	var group sync.WaitGroup
	for i, w := range list {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			answers, err := l.jobs.ClientAnswers(ctx, w.ID, w.Region, answerWithin)
			switch {
			case err != nil:
				out[i] = unasked
				l.log.Debug("whether a worker lives cannot be asked", "worker", w.Name, "error", err)
			case answers:
				out[i] = answering
			}
		})
	}
	group.Wait()
	return out
}

// heard takes the word of the client of a worker that was suspected, or declared dead.
func (l *losses) heard(w *workers.Worker, said word, declared bool) {
	switch {
	case said == unasked:
	case declared:
		l.log.Warn("a worker that was declared dead answers; it is none any more", "worker", w.Name, "id", w.ID)
		l.mu.Lock()
		delete(l.declared, w.ID)
		l.mu.Unlock()
		l.suspicions.Heard(w.ID, time.Now())
	default:
		l.log.Warn("Consul has lost a worker whose Nomad client answers; it stays", "worker", w.Name, "id", w.ID)
		l.suspicions.Heard(w.ID, time.Now())
	}
}

// abandon gives a worker up, and says so of what was not given up before. What Nomad has placed there since, for want of other
// room, and has not begun, is left alone: giving that up again and again would only use up what its task may lose.
func (l *losses) abandon(ctx context.Context, w *workers.Worker, placed []nomad.Placed, by, why string) {
	known := l.ended[w.ID]
	if known != nil {
		placed = slices.DeleteFunc(placed, func(p nomad.Placed) bool { return !p.Started && !known[p.Attempt] })
	} else {
		known = map[workflow.AttemptID]bool{}
		l.ended[w.ID] = known
	}
	before := maps.Clone(known)
	for _, p := range placed {
		known[p.Attempt] = true
	}
	ended, err := l.giveUp(ctx, w, placed, by, why)
	fresh := 0
	for _, p := range ended {
		if !before[p.Attempt] {
			fresh++
		}
	}
	if fresh > 0 {
		l.log.Warn("attempts on a worker are given up", "worker", w.Name, "id", w.ID, "attempts", fresh, "reason", why)
	}
	if err != nil && ctx.Err() == nil {
		l.log.Warn("attempts on a worker could not be given up; trying again", "worker", w.Name, "error", err)
	}
}

// giveUp ends attempts on a worker, and returns those that are not waited for any more. Without by, nobody is sure, and only
// those are ended that may run twice.
func (l *losses) giveUp(ctx context.Context, w *workers.Worker, placed []nomad.Placed, by, why string) ([]nomad.Placed, error) {
	var mu sync.Mutex // guards ended and failed
	var ended []nomad.Placed
	var failed error
	places := make(chan struct{}, givenUpAtOnce)
	var group sync.WaitGroup
	last := workflow.AttemptID("")
	for _, p := range placed {
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
