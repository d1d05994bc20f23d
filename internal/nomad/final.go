// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"net/http"
	"slices"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// deadAgain is after what time a job that Nomad calls dead must still be so. Up to 2.0.0 it calls one dead for an instant
// between the failure of an allocation and the evaluation that replaces it.
const deadAgain = time.Second

// askWhetherOver asks whether Nomad may still place something for a job that keeps its own rules.
func (e *Executor) askWhetherOver(ctx context.Context, a *attempt) error {
	job, err := e.find(ctx, a)
	switch {
	case answered(err) == http.StatusNotFound:
		e.mu.Lock()
		defer e.mu.Unlock()
		a.look, a.doubt, a.mayBeOver = true, true, false
		return nil
	case err != nil:
		return err
	}
	if deref(job.Status) == jobDead {
		// What ended last may not have been told yet. Something new makes it begin anew.
		if err := e.lookAt(ctx, a); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.stopped(deref(job.Stop))
	switch {
	case deref(job.Status) != jobDead:
		a.mayBeOver, a.deadSince = false, time.Time{}
	case a.deadSince.IsZero():
		a.deadSince = time.Now()
	case time.Since(a.deadSince) >= deadAgain:
		a.dead = true
	}
	return nil
}

// jobDead is Nomad's status of a job for which it runs nothing and plans nothing.
const jobDead = "dead"

// lingers reports whether tasks still run in an allocation that Nomad calls over. The caller holds mu.
func (a *attempt) lingers() bool {
	for _, alloc := range a.allocs {
		if alloc.lingers(a.shapeOf(alloc)) {
			return true
		}
	}
	return false
}

// shapeOf describes the group of an allocation; nil when it is not known. The caller holds mu.
func (a *attempt) shapeOf(of *alloc) *shape {
	f := facts{groups: a.groups, whole: a.whole}
	return f.shape(of)
}

// askForNodes asks whether the nodes of lingering allocations are still there. Nomad gives an allocation up with its node, but
// not one that it calls over already.
func (e *Executor) askForNodes(ctx context.Context, a *attempt) error {
	e.mu.Lock()
	a.lingering = false
	var nodes []string
	for _, alloc := range a.allocs {
		if alloc.lingers(a.shapeOf(alloc)) && !slices.Contains(nodes, alloc.NodeID) {
			nodes = append(nodes, alloc.NodeID)
		}
	}
	e.mu.Unlock()
	for _, id := range nodes {
		gone, err := e.nodeGone(ctx, a.realm, id)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		e.log.Warn("a worker went away while tasks ended on it", "job", a.jobID, "node", id)
		e.mu.Lock()
		for _, alloc := range a.allocs {
			alloc.gone = alloc.gone || alloc.NodeID == id
		}
		e.mu.Unlock()
	}
	return nil
}

func (e *Executor) nodeGone(ctx context.Context, r realm, id string) (bool, error) {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return false, err
	}
	defer release()
	var node *nomadapi.Node
	err = e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var err error
		node, _, err = e.client.api.Nodes().Info(id, r.query(ctx, secret))
		return err
	})
	switch {
	case answered(err) == http.StatusNotFound:
		return true, nil
	case err != nil:
		return false, err
	}
	return node.Status == nomadapi.NodeStatusDown || node.Status == nomadapi.NodeStatusDisconnected, nil
}
