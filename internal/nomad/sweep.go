// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Fate is what the store knows of an attempt.
type Fate string

// The fates. Only what is certainly over is ever stopped or purged.
const (
	FateUnknown Fate = "unknown" // its run is not in the store
	FateActive  Fate = "active"  // no verdict yet
	FateOver    Fate = "over"    // its verdict is saved
)

// Orphan is a job of this cluster whose run the store does not know. It is reported, never stopped.
type Orphan struct {
	Run       workflow.RunID
	Attempt   workflow.AttemptID
	JobID     string
	Name      string
	Region    string
	Namespace string
	Status    string
	Submitted time.Time
}

// sweepPage is how many jobs are listed at once: with their meta, a few hundred bytes each.
const sweepPage = 500

// Swept is what a sweep has done and met.
type Swept struct {
	Stopped int      // jobs
	Orphans []Orphan // left as they are
	Epoch   uint64   // the highest under which a job that is not dead was started
}

// Sweep stops the jobs of attempts that are over and returns the orphans it met. The server calls it every minute, but not
// between taking office and the end of reconciliation, and whenever Nomad was restored (Config.OnRestore).
func (e *Executor) Sweep(ctx context.Context, fate func(workflow.AttemptID) Fate) (Swept, error) {
	var swept Swept
	e.mu.Lock()
	everywhere := e.parents.unsure()
	e.mu.Unlock()
	err := e.alive(ctx, everywhere, func(r realm, id workflow.AttemptID, stub *nomadapi.JobListStub) error {
		swept.Epoch = max(swept.Epoch, epochOf(stub))
		switch fate(id) {
		case FateOver:
			if stub.Stop {
				return nil
			}
			e.log.Warn("stopping a job whose attempt is over", "job", stub.ID)
			if _, err := e.deregister(ctx, r, stub.ID, false); err != nil {
				return err
			}
			swept.Stopped++
		case FateUnknown:
			o, err := orphan(r, id, stub)
			if err != nil {
				return err
			}
			swept.Orphans = append(swept.Orphans, o)
		}
		return nil
	})
	if everywhere && err == nil {
		e.mu.Lock()
		e.parents.sought = time.Now()
		e.mu.Unlock()
	}
	return swept, err
}

// epochOf is the epoch under which the attempt of a job was admitted; 0 for a child of a dispatch, which does not carry it.
func epochOf(stub *nomadapi.JobListStub) uint64 {
	epoch, err := strconv.ParseUint(stub.Meta[metaEpoch], 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}

// Orphans lists the jobs of this cluster that are not dead and whose run the store does not know.
func (e *Executor) Orphans(ctx context.Context, fate func(workflow.AttemptID) Fate) ([]Orphan, error) {
	var orphans []Orphan
	err := e.alive(ctx, true, func(r realm, id workflow.AttemptID, stub *nomadapi.JobListStub) error {
		if fate(id) != FateUnknown {
			return nil
		}
		o, err := orphan(r, id, stub)
		orphans = append(orphans, o)
		return err
	})
	return orphans, err
}

func orphan(r realm, id workflow.AttemptID, stub *nomadapi.JobListStub) (Orphan, error) {
	run, _, _, _, err := id.Parse()
	return Orphan{
		Run: run, Attempt: id, JobID: stub.ID, Name: stub.Name, Region: r.region, Namespace: r.namespace,
		Status: stub.Status, Submitted: time.Unix(0, stub.SubmitTime).UTC(),
	}, err
}

// alive visits every job of this cluster that is not dead: those that are Cairn's own, and the children of dispatches. They
// are listed by their prefix, children by that of the parents that are known, or everywhere, among all jobs.
func (e *Executor) alive(ctx context.Context, everywhere bool, visit func(realm, workflow.AttemptID, *nomadapi.JobListStub) error) error {
	const notDead = `Status != "dead"`
	met := map[string]bool{}
	visitOnce := func(r realm, id workflow.AttemptID, stub *nomadapi.JobListStub) error {
		// Nomad's own region has a name, and may be in use under both.
		name := fmt.Sprintf("%s/%s/%d", r.namespace, stub.ID, stub.SubmitTime)
		if met[name] {
			return nil
		}
		met[name] = true
		return visit(r, id, stub)
	}
	for _, region := range e.knownRegions() {
		all := realm{region: region, namespace: nomadapi.AllNamespacesNamespace}
		if err := e.visit(ctx, all, jobPrefix(e.cfg.Cluster), notDead, visitOnce); err != nil {
			return err
		}
		if everywhere {
			children := fmt.Sprintf("%s and ID contains %q", notDead, dispatchInfix+jobPrefix(e.cfg.Cluster))
			if err := e.visit(ctx, all, "", children, visitOnce); err != nil {
				return err
			}
		}
	}
	if everywhere {
		return nil
	}
	e.mu.Lock()
	parents := slices.Collect(maps.Keys(e.parents.known))
	e.mu.Unlock()
	for _, p := range parents {
		if err := e.visit(ctx, p.realm, p.parent+dispatchInfix+jobPrefix(e.cfg.Cluster), notDead, visitOnce); err != nil {
			return err
		}
	}
	return nil
}

// visit visits the jobs of this cluster in one list, page by page.
func (e *Executor) visit(
	ctx context.Context, where realm, prefix, filter string, visit func(realm, workflow.AttemptID, *nomadapi.JobListStub) error,
) error {
	for next := ""; ; {
		var page []*nomadapi.JobListStub
		var meta *nomadapi.QueryMeta
		err := e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
			query := where.query(ctx, secret)
			query.Prefix, query.Filter = prefix, filter
			query.PerPage, query.NextToken = sweepPage, next
			var err error
			page, meta, err = e.client.api.Jobs().ListOptions(&nomadapi.JobListOptions{
				Fields: &nomadapi.JobListFields{Meta: true},
			}, query)
			return err
		})
		if err != nil {
			return fmt.Errorf("list the jobs of this cluster: %w", err)
		}
		for _, stub := range page {
			id, ok := parseJobID(e.cfg.Cluster, stub.ID)
			ok = ok && stub.Meta[metaCluster] == e.cfg.Cluster
			if !ok { // a child carries its parent's meta, and no mark of ours but its ID
				id, ok = parseChildID(e.cfg.Cluster, stub.ID)
			}
			if !ok {
				continue
			}
			if err := visit(realm{region: where.region, namespace: stub.Namespace}, id, stub); err != nil {
				return err
			}
		}
		if next = meta.NextToken; next == "" {
			return nil
		}
	}
}

// knownRegions returns the regions that are in use, and the one that bodies go to by default.
func (e *Executor) knownRegions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	regions := []string{e.cfg.Region}
	for r := range e.realms {
		if !slices.Contains(regions, r.region) {
			regions = append(regions, r.region)
		}
	}
	slices.Sort(regions)
	return regions
}

// deregister stops a job, or removes it with everything Nomad knows of it. It returns the evaluation that Nomad makes of it,
// if any.
func (e *Executor) deregister(ctx context.Context, r realm, id string, purge bool) (eval string, err error) {
	count, what := &e.client.count.stops, "stop"
	if purge {
		count, what = &e.client.count.purges, "purge"
	}
	release, err := slot(ctx, e.client.registrations)
	if err != nil {
		return "", err
	}
	defer release()
	err = e.client.call(ctx, count, func(ctx context.Context, secret string) error {
		var err error
		eval, _, err = e.client.api.Jobs().Deregister(id, purge, r.write(ctx, secret))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s job %s: %w", what, id, err)
	}
	return eval, nil
}

// purgeQueue holds the jobs of settled attempts, oldest first. It is not stored: what a restart forgets, Nomad collects
// by its own rules (four hours).
type purgeQueue struct{ entries []purgeEntry }

type purgeEntry struct {
	attempt workflow.AttemptID
	jobID   string
	realm   realm
	at      time.Time // of settling
	keep    time.Duration
}

// add takes the job of an attempt that is being settled. Jobs whose allocations may still run somewhere are left to Nomad:
// purging them would delete the only record of that.
func (q *purgeQueue) add(a *attempt, cfg Config) {
	if a.outcome == nil || !a.hasJob() || a.accepted == 0 && a.outcome.Kind == engine.OutcomeInvalid {
		return
	}
	for _, alloc := range a.allocs {
		if alloc.ClientStatus != clientComplete && alloc.ClientStatus != clientFailed {
			return
		}
	}
	entry := purgeEntry{attempt: a.id, jobID: a.jobID, realm: a.realm, at: cfg.Now(), keep: cfg.KeepFailedJobs}
	if succeeded(a.outcome) {
		entry.keep = cfg.KeepJobs
	}
	q.entries = append(q.entries, entry)
	// More than this settles faster than anything may be purged. Nomad collects the oldest.
	if excess := len(q.entries) - 2*cfg.KeepNewest; excess > 0 {
		q.entries = slices.Delete(q.entries, 0, excess)
	}
}

// due takes out what may be purged now.
func (q *purgeQueue) due(now time.Time, newest int) []purgeEntry {
	var due, kept []purgeEntry
	for i, entry := range q.entries {
		age := now.Sub(entry.at)
		tooMany := len(q.entries)-i > newest
		if age >= entry.keep || tooMany && age >= MinKeepJobs {
			due = append(due, entry)
		} else {
			kept = append(kept, entry)
		}
	}
	q.entries = kept
	return due
}

// Purge removes jobs from Nomad whose attempts were settled long enough ago. What is not over by the store's word stays.
func (e *Executor) Purge(ctx context.Context, fate func(workflow.AttemptID) Fate) (purged int, err error) {
	e.mu.Lock()
	due := e.purges.due(e.cfg.Now(), e.cfg.KeepNewest)
	e.mu.Unlock()
	for i, entry := range due {
		if fate(entry.attempt) != FateOver {
			continue
		}
		if _, err := e.deregister(ctx, entry.realm, entry.jobID, true); err != nil {
			e.mu.Lock()
			e.purges.entries = append(slices.Clone(due[i:]), e.purges.entries...)
			e.mu.Unlock()
			return purged, err
		}
		purged++
	}
	return purged, nil
}
