// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/workers"
	"github.com/cairnflow/cairn/internal/workflow"
)

// consulName is the attribute under which a client says what its machine is called in Consul.
const consulName = "unique.consul.name"

// nodesAtOnce is how many nodes are read at the same time.
const nodesAtOnce = 8

// knownNode is what was read of a node, and when it was last changed then.
type knownNode struct {
	index   uint64
	machine string
}

// Nodes lists the workers of the regions in use, in no order. Of each that has changed since the last time, the node itself is
// read: lists do not say what it is called in Consul.
func (e *Executor) Nodes(ctx context.Context) ([]workers.Node, error) {
	var stubs []*nomadapi.NodeListStub
	regionOf, known := map[string]realm{}, map[string]knownNode{}
	for _, region := range e.knownRegions() {
		r := realm{region: region}
		list, err := e.listNodes(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("ask Nomad for its nodes: %w", err)
		}
		for _, n := range list {
			if _, twice := regionOf[n.ID]; !twice { // the agent's own region has a name too
				regionOf[n.ID], stubs = r, append(stubs, n)
			}
		}
	}
	e.mu.Lock()
	maps.Copy(known, e.nodes)
	e.mu.Unlock()
	stale := slices.DeleteFunc(slices.Clone(stubs), func(n *nomadapi.NodeListStub) bool {
		k, ok := known[n.ID]
		return ok && k.index == n.ModifyIndex
	})
	for chunk := range slices.Chunk(stale, nodesAtOnce) {
		read, err := e.readNodes(ctx, chunk, regionOf)
		if err != nil {
			return nil, fmt.Errorf("ask Nomad for a node: %w", err)
		}
		maps.Copy(known, read)
	}
	nodes := make([]workers.Node, 0, len(stubs))
	for _, n := range stubs {
		nodes = append(nodes, workers.Node{
			ID: n.ID, Name: n.Name, Datacenter: n.Datacenter, Pool: n.NodePool, Version: n.Version,
			Status: workers.NodeStatus(n.Status), Description: n.StatusDescription,
			Eligible: n.SchedulingEligibility != nomadapi.NodeSchedulingIneligible, Draining: n.Drain, Machine: known[n.ID].machine,
		})
	}
	maps.DeleteFunc(known, func(id string, _ knownNode) bool { _, there := regionOf[id]; return !there })
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = known
	return nodes, nil
}

func (e *Executor) listNodes(ctx context.Context, r realm) (list []*nomadapi.NodeListStub, err error) {
	err = e.readNode(ctx, func(ctx context.Context, secret string) error {
		list, _, err = e.client.api.Nodes().List(r.query(ctx, secret))
		return err
	})
	return list, err
}

// readNodes reads some nodes at the same time. One that is gone by now has nothing to say.
func (e *Executor) readNodes(ctx context.Context, stubs []*nomadapi.NodeListStub, regionOf map[string]realm) (map[string]knownNode, error) {
	read, errs := make([]knownNode, len(stubs)), make([]error, len(stubs))
	var group sync.WaitGroup
	for i, n := range stubs {
		group.Go(func() {
			errs[i] = e.readNode(ctx, func(ctx context.Context, secret string) error {
				node, _, err := e.client.api.Nodes().Info(n.ID, regionOf[n.ID].query(ctx, secret))
				if err == nil {
					read[i] = knownNode{node.ModifyIndex, node.Attributes[consulName]}
				}
				return err
			})
			if answered(errs[i]) == http.StatusNotFound {
				errs[i] = nil
			}
		})
	}
	group.Wait()
	out := map[string]knownNode{}
	for i, n := range stubs {
		out[n.ID] = read[i]
	}
	return out, errors.Join(errs...)
}

func (e *Executor) readNode(ctx context.Context, do func(ctx context.Context, secret string) error) error {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return err
	}
	defer release()
	return e.client.call(ctx, &e.client.count.nodes, do)
}

// Placed is an attempt that has an allocation on a node, as far as it is not over.
type Placed struct {
	Run     workflow.RunID
	Attempt workflow.AttemptID
	Task    string
	Key     string
	Alloc   string
}

// Placed tells what runs where: the attempts in flight by the ID of the node, each node's in order.
func (e *Executor) Placed() map[string][]Placed {
	e.mu.Lock()
	defer e.mu.Unlock()
	on := map[string][]Placed{}
	for _, a := range e.attempts {
		if a.outcome != nil {
			continue
		}
		f := &facts{groups: a.groups, whole: a.whole}
		for _, alloc := range a.allocs {
			switch ph, _ := alloc.stage(f.shape(alloc)); ph {
			case phasePending, phaseRunning, phaseUnreachable:
				on[alloc.NodeID] = append(on[alloc.NodeID], Placed{Run: a.start.Run, Attempt: a.id, Task: a.start.Task, Key: a.start.Key, Alloc: alloc.ID})
			}
		}
	}
	for _, placed := range on {
		slices.SortFunc(placed, func(x, y Placed) int { return cmp.Compare(x.Attempt, y.Attempt) })
	}
	return on
}
