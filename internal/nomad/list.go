// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
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
			soon, err := e.list(w.ctx, r, all)
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
			if soon {
				due = earlier(due, e.cfg.LostAfter)
			}
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

// list compares what Nomad has with what is waited for. soon: some job is missing and wants a second list.
func (e *Executor) list(ctx context.Context, r realm, all bool) (soon bool, err error) {
	ids := e.inFlight(r, all)
	if len(ids) == 0 {
		return false, nil
	}
	index, leader, err := e.probe(ctx, r)
	if err != nil {
		return false, err
	}
	if e.wentBack(r, index) {
		e.log.Warn("Nomad's index went backwards: it was restored from a snapshot; reconciling", "realm", r, "index", index)
		if e.cfg.OnRestore != nil {
			e.cfg.OnRestore(ctx)
		}
		ids = e.inFlight(r, true)
	}
	for page := range slices.Chunk(ids, listPage) {
		missing, err := e.listPage(ctx, r, page, index, leader)
		if err != nil {
			return soon, err
		}
		soon = soon || missing
	}
	return soon, nil
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

// probe asks for the index of Nomad's table of jobs, and whether a leader vouches for it. The list of statuses carries
// the index of its own rows only.
func (e *Executor) probe(ctx context.Context, r realm) (index uint64, leader bool, err error) {
	err = e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		query := r.query(ctx, secret)
		query.Prefix, query.PerPage = jobPrefix(e.cfg.Cluster), 1
		_, meta, err := e.client.api.Jobs().List(query)
		if err == nil {
			index, leader = meta.LastIndex, meta.KnownLeader
		}
		return err
	})
	return index, leader, err
}

// seen notes an index of Nomad. The caller holds mu.
func (e *Executor) seen(r realm, index uint64) { e.regions[r.region] = max(e.regions[r.region], index) }

// wentBack notes an index and reports whether it is below one that was seen before. Then all that was accepted later
// counts as accepted now, so that it is found missing.
func (e *Executor) wentBack(r realm, index uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if index >= e.regions[r.region] {
		e.regions[r.region] = index
		return false
	}
	e.regions[r.region] = index
	for _, a := range e.attempts {
		if a.realm.region == r.region {
			a.accepted = min(a.accepted, index)
			a.listed = false
			a.look = a.accepted != 0
		}
	}
	for other, state := range e.realms {
		if other.region == r.region {
			state.index = 0
		}
	}
	return true
}

func (e *Executor) listPage(ctx context.Context, r realm, ids []string, index uint64, leader bool) (missing bool, err error) {
	var in nomadapi.JobStatusesRequest
	for _, id := range ids {
		in.Jobs = append(in.Jobs, nomadapi.NamespacedID{ID: id, Namespace: r.namespace})
	}
	var out []jobStatus
	err = e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		return e.client.post(ctx, r, "/v1/jobs/statuses", in, &out, secret)
	})
	if err != nil {
		return false, err
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
			e.compare(a, status)
		} else if e.absent(a, index, leader) {
			missing = true
		}
	}
	return missing, nil
}

// compare has an attempt looked at whose job is not as it is known. The caller holds mu.
func (e *Executor) compare(a *attempt, status *jobStatus) {
	a.listed, a.missing = true, time.Time{}
	for _, s := range status.Allocs {
		if known := a.allocs[s.ID]; known == nil || known.ClientStatus != s.ClientStatus {
			a.look = true
		}
	}
	if status.Stop && a.stopEval == "" && a.job != jobStopped {
		a.job, a.look = jobStopped, true
	}
	a.whyHeld = len(status.Allocs) == 0 && a.held == ""
	e.advance(a)
}

// absent notes that Nomad does not know an attempt's job. That makes it lost when it still does not some time later,
// with a leader that vouches for it and has seen the job's acceptance. The caller holds mu.
func (e *Executor) absent(a *attempt, index uint64, leader bool) (wait bool) {
	now := time.Now()
	switch {
	case a.missing.IsZero():
		a.missing = now
		return true
	case now.Sub(a.missing) < e.cfg.LostAfter || !leader || index < a.accepted:
		return true
	}
	e.client.count.lost.Add(1)
	o := outcome(engine.OutcomeLost, "Nomad does not know job %s any more: it was purged or collected", a.jobID)
	if a.cause != nil {
		o = a.cause
	} else if a.killed {
		o = outcome(engine.OutcomeKilled, "stopped")
	}
	e.finish(a, o, nil)
	return false
}
