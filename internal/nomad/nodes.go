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
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workers"
	"github.com/cairnflow/cairn/internal/workflow"
)

// The attributes by which a client says what its machine is called in Consul, and in which datacenter.
const (
	consulName       = "unique.consul.name"
	consulDatacenter = "consul.datacenter"
)

// nodesAtOnce is how many nodes are read at the same time.
const nodesAtOnce = 8

// knownNode is what was read of a node, and when it was last changed then.
type knownNode struct {
	index   uint64
	machine workers.MachineID
	trouble string // why it could not be read; empty otherwise
}

// Nodes lists the workers of the regions in use, in no order. Of each that has changed since the last time, the node itself is
// read: lists do not say what it is called in Consul. A region or a node that cannot be read does not hide the others; the
// error is of the regions that are missing.
func (e *Executor) Nodes(ctx context.Context) ([]workers.Node, error) {
	var stubs []*nomadapi.NodeListStub
	var errs []error
	regionOf, known := map[string]string{}, map[string]knownNode{}
	for _, region := range e.knownRegions() {
		list, err := e.listNodes(ctx, realm{region: region})
		if err != nil {
			errs = append(errs, fmt.Errorf("ask Nomad for the nodes of %s: %w", cmp.Or(region, "its own region"), err))
		}
		for _, n := range list {
			if _, twice := regionOf[n.ID]; !twice { // the agent's own region has a name too
				regionOf[n.ID], stubs = region, append(stubs, n)
			}
		}
	}
	e.mu.Lock()
	maps.Copy(known, e.nodes)
	e.mu.Unlock()
	stale := slices.DeleteFunc(slices.Clone(stubs), func(n *nomadapi.NodeListStub) bool {
		k, ok := known[n.ID]
		return ok && k.index == n.ModifyIndex && k.trouble == ""
	})
	for chunk := range slices.Chunk(stale, nodesAtOnce) {
		maps.Copy(known, e.readNodes(ctx, chunk, regionOf))
	}
	nodes := make([]workers.Node, 0, len(stubs))
	for _, n := range stubs {
		nodes = append(nodes, workers.Node{
			ID: n.ID, Name: n.Name, Datacenter: n.Datacenter, Pool: n.NodePool, Version: n.Version, Region: regionOf[n.ID],
			Status: workers.NodeStatus(n.Status), Description: n.StatusDescription,
			Eligible: n.SchedulingEligibility != nomadapi.NodeSchedulingIneligible, Draining: n.Drain,
			Machine: known[n.ID].machine, Trouble: known[n.ID].trouble,
		})
	}
	if len(errs) == 0 {
		maps.DeleteFunc(known, func(id string, _ knownNode) bool { _, there := regionOf[id]; return !there })
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = known
	return nodes, errors.Join(errs...)
}

func (e *Executor) listNodes(ctx context.Context, r realm) (list []*nomadapi.NodeListStub, err error) {
	err = e.readNode(ctx, func(ctx context.Context, secret string) error {
		list, _, err = e.client.api.Nodes().List(r.query(ctx, secret))
		return err
	})
	return list, err
}

// readNodes reads some nodes at the same time.
func (e *Executor) readNodes(ctx context.Context, stubs []*nomadapi.NodeListStub, regionOf map[string]string) map[string]knownNode {
	read := make([]knownNode, len(stubs))
	var group sync.WaitGroup
	for i, n := range stubs {
		group.Go(func() {
			err := e.readNode(ctx, func(ctx context.Context, secret string) error {
				node, _, err := e.client.api.Nodes().Info(n.ID, realm{region: regionOf[n.ID]}.query(ctx, secret))
				if err == nil {
					name := workers.MachineID{Datacenter: node.Attributes[consulDatacenter], Name: node.Attributes[consulName]}
					read[i] = knownNode{index: node.ModifyIndex, machine: name}
				}
				return err
			})
			if err != nil {
				read[i].trouble = err.Error()
			}
		})
	}
	group.Wait()
	out := map[string]knownNode{}
	for i, n := range stubs {
		out[n.ID] = read[i]
	}
	return out
}

func (e *Executor) readNode(ctx context.Context, do func(ctx context.Context, secret string) error) error {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return err
	}
	defer release()
	return e.client.call(ctx, &e.client.count.nodes, do)
}

// Avoid keeps new jobs off nodes, by their IDs, until it is called again: they are placed there only where nothing else would do,
// as a job stays as it was registered when the node has long been well again. Jobs of a file of their own, and dispatches, are as
// their authors made them.
func (e *Executor) Avoid(nodes []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.avoid = slices.Clone(nodes)
}

// keepOff keeps a job that is about to be registered off the nodes to be avoided.
func (e *Executor) keepOff(job *nomadapi.Job, s engine.Start) {
	if s.Kind == workflow.BodyJob {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.avoid) == 0 {
		return
	}
	wanted := 0 // by the author, who may want just that node
	for _, list := range allAffinities(job) {
		for _, a := range list {
			wanted += int(max(deref(a.Weight), 0))
		}
	}
	// One for all nodes, since Nomad divides by the sum of all weights, and against ten times what the author wants: what is left
	// outweighs how well a node that is full suits.
	for range 1 + 10*((wanted+mostAgainst-1)/mostAgainst) {
		against := nomadapi.NewAffinity("${node.unique.id}", "set_contains_any", strings.Join(e.avoid, ","), -mostAgainst)
		job.Affinities = append(job.Affinities, against)
	}
}

// mostAgainst is the largest weight that Nomad takes of one affinity.
const mostAgainst = 100

func allAffinities(job *nomadapi.Job) (all [][]*nomadapi.Affinity) {
	all = append(all, job.Affinities)
	for _, g := range job.TaskGroups {
		all = append(all, g.Affinities)
		for _, t := range g.Tasks {
			all = append(all, t.Affinities)
		}
	}
	return all
}

// clientPatience is how long an agent may take to say that it is there, or how it is set up.
const clientPatience = 2 * time.Second

// ClientAnswers asks the client of a node for itself, through Nomad's servers, and reports whether it has answered in time. An
// error says that nobody could be asked.
func (e *Executor) ClientAnswers(ctx context.Context, node, region string, within time.Duration) (bool, error) {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var stats struct{}
	// Not a place among the reads: those may all wait for the files of the same node.
	err := e.client.call(asking, &e.client.count.nodes, func(ctx context.Context, secret string) error {
		return e.client.get(ctx, realm{region: region}, "/v1/client/stats", url.Values{"node_id": {node}}, &stats, secret)
	})
	var refused *statusError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
	case errors.As(err, &refused):
		if refused.code == http.StatusNotFound || strings.Contains(refused.body, "No path to node") {
			return false, nil
		}
	case notSent(err):
	case errors.Is(asking.Err(), context.DeadlineExceeded):
		// Is it silent, or the agent that was to ask it?
		again, cancel := context.WithTimeout(ctx, clientPatience)
		defer cancel()
		if err = e.Answers(again); err == nil {
			return false, nil
		}
	}
	return false, fmt.Errorf("ask the client of node %s: %w", node, err)
}

// Placed is an allocation of an attempt on a node.
type Placed struct {
	Run     workflow.RunID
	Attempt workflow.AttemptID
	Task    string
	Key     string
	Alloc   string
	Started bool // a program of it runs, or ran, there
}

// Placed tells what runs where, as far as this executor has met it: the allocations of attempts in flight that are not over, by
// the ID of the node, in order.
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
				on[alloc.NodeID] = append(on[alloc.NodeID], Placed{
					Run: a.start.Run, Attempt: a.id, Task: a.start.Task, Key: a.start.Key, Alloc: alloc.ID, Started: alloc.started(),
				})
			}
		}
	}
	for _, placed := range on {
		slices.SortFunc(placed, func(x, y Placed) int {
			return cmp.Or(cmp.Compare(x.Attempt, y.Attempt), cmp.Compare(x.Alloc, y.Alloc))
		})
	}
	return on
}
