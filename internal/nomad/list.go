// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
)

// listPage is how many jobs are asked for at once.
const listPage = 200

// jobStatus is one job in the answer of /v1/jobs/statuses.
type jobStatus struct {
	ID     string
	Stop   bool
	Allocs []struct{ ID, ClientStatus string }
}

// listing lists the jobs in flight of every realm, on a timer and when somebody wants it, until the watch ends.
func (e *Executor) listing(w *watch) {
	due := time.Now().Add(e.cfg.ListEvery) // the next list of all
	timer := time.NewTimer(e.cfg.ListEvery)
	defer timer.Stop()
	for failures := 0; ; {
		all := false
		timer.Reset(time.Until(due))
		select {
		case <-w.ctx.Done():
			return
		case <-w.kick:
		case <-timer.C:
			all = true
			due = time.Now().Add(e.cfg.ListEvery)
		}
		for _, r := range e.realmsToList(all) {
			err := e.list(w.ctx, r, all)
			if w.ctx.Err() != nil {
				return
			}
			if err != nil {
				failures++
				e.log.Warn("jobs in flight cannot be listed", "realm", r, "failures", failures, "error", err)
				due = earlier(due, pace.Delay(failures))
				continue
			}
			failures = 0
		}
	}
}

// earlier returns due, or d from now if that is before.
func earlier(due time.Time, d time.Duration) time.Time {
	if soon := time.Now().Add(d); soon.Before(due) {
		return soon
	}
	return due
}

// wantList asks for a list of the attempts of a realm that were not listed yet. The caller holds mu.
func (e *Executor) wantList(r realm) {
	state := e.realms[r]
	if state == nil || e.watch == nil {
		return // the list of the next connection will have them
	}
	state.wantList = true
	select {
	case e.watch.kick <- struct{}{}:
	default:
	}
}

func (e *Executor) realmsToList(all bool) []realm {
	e.mu.Lock()
	defer e.mu.Unlock()
	var realms []realm
	for r, state := range e.realms {
		if all || state.wantList {
			state.wantList = false
			realms = append(realms, r)
		}
	}
	slices.SortFunc(realms, func(x, y realm) int {
		return cmp.Or(cmp.Compare(x.region, y.region), cmp.Compare(x.namespace, y.namespace))
	})
	return realms
}

// list compares what Nomad has with what is waited for.
func (e *Executor) list(ctx context.Context, r realm, all bool) error {
	ids := e.inFlight(r, all)
	if len(ids) == 0 {
		return nil
	}
	e.mu.Lock()
	before := e.regions[r.region] // a job that is accepted while Nomad is asked has an index above the answer
	e.mu.Unlock()
	index, _, _, err := e.probe(ctx, r, jobPrefix(e.cfg.Cluster))
	if err != nil {
		return err
	}
	if e.wentBack(r, before, index) {
		e.log.Warn("Nomad's index went backwards: it was restored from a snapshot; reconciling", "realm", r, "index", index)
		if e.cfg.OnRestore != nil {
			e.cfg.OnRestore(ctx)
		}
		ids = e.inFlight(r, true)
	}
	for page := range slices.Chunk(ids, listPage) {
		if err := e.listPage(ctx, r, page); err != nil {
			return err
		}
	}
	return nil
}

// inFlight returns the jobs of a realm that are waited for; unless all, only those that were not listed yet.
func (e *Executor) inFlight(r realm, all bool) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for _, a := range e.attempts {
		if a.realm == r && a.accepted != 0 && a.outcome == nil && (all || !a.listed) {
			ids = append(ids, a.jobID)
		}
	}
	slices.Sort(ids)
	return ids
}

// probe asks for the first job whose ID begins with prefix, for the index of Nomad's table of jobs, and whether a leader
// vouches for both. The list of statuses carries the index of its own rows only.
func (e *Executor) probe(ctx context.Context, r realm, prefix string) (index uint64, leader bool, first *nomadapi.JobListStub, err error) {
	err = e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		query := r.query(ctx, secret)
		query.Prefix, query.PerPage = prefix, 1
		list, meta, err := e.client.api.Jobs().List(query)
		if err != nil {
			return err
		}
		index, leader = max(meta.LastIndex, 1), meta.KnownLeader // 0 where there has never been a job: Nomad itself was lost
		if len(list) > 0 {
			first = list[0]
		}
		return nil
	})
	return index, leader, first, err
}

// seen notes an index of Nomad. The caller holds mu.
func (e *Executor) seen(r realm, index uint64) { e.regions[r.region] = max(e.regions[r.region], index) }

// wentBack notes an index and reports whether it is below the one that had been seen before it was asked for. Then all that
// was accepted later counts as accepted now, so that it is found missing.
func (e *Executor) wentBack(r realm, before, index uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if index >= before {
		e.seen(r, index)
		if e.doubts && e.rolls[r.region] == 0 {
			e.callRoll(r.region, index)
		}
		return false
	}
	e.regions[r.region] = index
	e.callRoll(r.region, index)
	e.parents.sought = time.Time{}
	for _, a := range e.attempts {
		if a.realm.region == r.region {
			a.accepted = min(a.accepted, index)
			a.listed = false
			a.look, a.census = a.accepted != 0, a.accepted != 0
			a.stopEval, a.settledJob, a.settledAt = "", false, time.Time{} // its stop may be forgotten
			for _, alloc := range a.allocs {
				if !alloc.terminal() {
					alloc.ModifyIndex = 0 // what follows may have a lower one
				}
			}
		}
	}
	for other, state := range e.realms {
		if other.region == r.region {
			state.index = 0
		}
	}
	return true
}

func (e *Executor) listPage(ctx context.Context, r realm, ids []string) error {
	in := nomadapi.JobStatusesRequest{IncludeChildren: true} // of dispatches
	for _, id := range ids {
		in.Jobs = append(in.Jobs, nomadapi.NamespacedID{ID: id, Namespace: r.namespace})
	}
	var out []jobStatus
	err := e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		return e.client.post(ctx, r, "/v1/jobs/statuses", in, &out, secret)
	})
	if err != nil {
		return err
	}
	found := map[string]*jobStatus{}
	for i := range out {
		found[out[i].ID] = &out[i]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		a := e.jobs[id]
		if a == nil || a.outcome != nil {
			continue
		}
		if status := found[id]; status != nil {
			a.missing = time.Time{}
			a.look = a.look || a.differs(status)
			a.stopped(status.Stop)
			a.whyHeld = a.held == "" && (len(status.Allocs) == 0 || a.whole && a.waits())
			a.mayBeOver = true
			a.lingering = a.lingers()
		} else {
			// No proof of anything: of jobs that were changed by one entry of Nomad's log, as by the clients' updates of
			// many tasks that end together, this list names one only.
			a.look, a.doubt = true, true
		}
		a.listed = true
		e.advance(a)
	}
	return nil
}

// differs reports whether the allocations in a list are not as they are known. The caller holds mu.
func (a *attempt) differs(status *jobStatus) bool {
	return slices.ContainsFunc(status.Allocs, func(s struct{ ID, ClientStatus string }) bool {
		known := a.allocs[s.ID]
		return known == nil || known.ClientStatus != s.ClientStatus
	})
}

// stopped notes the stop flag of a job that is not being stopped by us. The caller holds mu.
func (a *attempt) stopped(flag bool) {
	if flag && a.stopEval == "" && a.job != jobStopped {
		a.job, a.look = jobStopped, true
	}
}

// lookAt reads an attempt's allocations, and makes sure of the job where there is none and a list did not name it.
func (e *Executor) lookAt(ctx context.Context, a *attempt) error {
	e.mu.Lock()
	before := maps.Clone(a.allocs)
	e.mu.Unlock()
	list, err := e.allocations(ctx, a.realm, a.jobID)
	if err != nil {
		return err
	}
	e.mu.Lock()
	doubt := a.doubt && len(list) == 0
	a.look, a.doubt = false, false
	for _, alloc := range list {
		a.apply(alloc)
	}
	if a.census {
		a.census = false
		for _, alloc := range list {
			delete(before, alloc.ID)
		}
		for id, known := range a.allocs {
			known.unknown = before[id] != nil && !known.terminal()
		}
	}
	e.mu.Unlock()
	if doubt {
		return e.seek(ctx, a)
	}
	return nil
}

// seek asks whether Nomad knows an attempt's job. It is lost when Nomad did not, and still does not some time later, each
// time by the word of a leader that has seen the job's acceptance.
func (e *Executor) seek(ctx context.Context, a *attempt) error {
	index, leader, stub, err := e.probe(ctx, a.realm, a.jobID)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	switch {
	case stub != nil && stub.ID == a.jobID:
		a.missing, a.whyHeld, a.mayBeOver = time.Time{}, a.held == "", true
		a.stopped(stub.Stop)
	case !leader || index < a.accepted:
		return fmt.Errorf("job %s is not found, but nobody vouches for that (leader %t, index %d)", a.jobID, leader, index)
	case a.missing.IsZero():
		a.missing = now
	case now.Sub(a.missing) >= e.cfg.LostAfter:
		e.client.count.lost.Add(1)
		o := outcome(engine.OutcomeLost, "Nomad does not know job %s any more: it was purged or collected", a.jobID)
		if a.cause != nil {
			o = a.cause
		} else if a.killed {
			o = outcome(engine.OutcomeKilled, "stopped")
		}
		e.finish(a, o, nil)
	}
	return nil
}

// allocations reads all allocations of a job.
func (e *Executor) allocations(ctx context.Context, r realm, id string) ([]*alloc, error) {
	var list []*alloc
	err := e.read(ctx, &e.client.count.looks, r, "/v1/job/"+id+"/allocations", url.Values{"all": {"true"}}, &list)
	return list, err
}
