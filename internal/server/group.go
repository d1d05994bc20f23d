// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workers"
	"github.com/cairnflow/cairn/internal/workflow"
)

// group is this server among those that share its store.
type group struct {
	name      string
	scheduler *scheduler.Scheduler
	elector   *consul.Elector
	members   func(context.Context) ([]consul.Member, error)
	machines  func(ctx context.Context, datacenter string) (map[string]workers.Machine, error)
	jobs      *keeper
	losses    *losses
	backups   backups
	inspect   func(context.Context) (consul.AgentFacts, error)
	clocks    func(context.Context) map[string]time.Duration // how far those of the other servers are ahead
	access    bool                                           // the API asks for tokens
	log       hclog.Logger
}

var (
	_ httpapi.Servers = (*group)(nil)
	_ httpapi.Servers = (*alone)(nil)
)

// yieldPatience is how long a server that stepped down lets others lead: longer than a takeover takes. After that it stands
// again, as nobody else would.
const yieldPatience = 10 * time.Second

// Leader implements httpapi.Servers.
func (g *group) Leader(ctx context.Context) (api.Leader, error) {
	h, epoch, err := g.elector.Standing(ctx)
	if err != nil {
		return api.Leader{}, notReady(err)
	}
	return api.Leader{Name: h.Name, URL: h.URL, Epoch: epoch}, nil
}

// Members implements httpapi.Servers.
func (g *group) Members(ctx context.Context) ([]api.Member, error) {
	known, err := g.members(ctx)
	if err != nil {
		return nil, notReady(err)
	}
	h, _, err := g.elector.Standing(ctx)
	if err != nil {
		return nil, notReady(err)
	}
	list := make([]api.Member, len(known))
	for i, m := range known {
		list[i] = api.Member{
			Name: m.Name, Address: m.Address, Version: m.Version, Format: m.Format, Healthy: m.Problem == "", Problem: m.Problem,
			Leader: m.Name == h.Name, Answers: m.Name == g.name,
		}
	}
	return list, nil
}

// StepDown implements httpapi.Servers.
func (g *group) StepDown(ctx context.Context, req api.StepDownRequest) (api.SteppedDown, error) {
	g.log.Info("stepping down", "by", req.By, "reason", req.Reason)
	epoch, err := g.scheduler.StepDown(ctx)
	if err != nil {
		return api.SteppedDown{}, err
	}
	out := api.SteppedDown{Name: g.name, Epoch: epoch}
	// Longer than this server yields, so that the answer tells of it where nobody else leads.
	ctx, cancel := context.WithTimeout(ctx, yieldPatience+yieldPatience/2)
	defer cancel()
	if h, next, err := g.elector.Next(ctx, epoch); err == nil {
		out.Leader = &api.Leader{Name: h.Name, URL: h.URL, Epoch: next}
	} else {
		g.log.Warn("nobody is known to lead after a step-down", "epoch", epoch, "error", err)
	}
	return out, nil
}

// look takes a look at the workers. What cannot be asked, of which troubles tells, does not hide what is known.
func (g *group) look(ctx context.Context) (view workers.View, troubles []string, err error) {
	nodes, err := g.jobs.nomad.Nodes(ctx)
	if err != nil && len(nodes) == 0 {
		return workers.View{}, nil, err
	}
	if err != nil {
		troubles = append(troubles, err.Error())
	}
	machines, unasked := map[workers.MachineID]workers.Machine{}, map[string]string{}
	asked := map[string]bool{}
	for _, n := range nodes {
		datacenter := n.Machine.Datacenter
		if n.Machine.Name == "" || asked[datacenter] {
			continue
		}
		asked[datacenter] = true
		found, err := g.machines(ctx, datacenter)
		if err != nil {
			unasked[datacenter] = err.Error()
			troubles = append(troubles, err.Error())
		}
		for name, m := range found {
			machines[workers.MachineID{Datacenter: datacenter, Name: name}] = m
		}
	}
	return workers.Join(nodes, machines, unasked), troubles, nil
}

// Workers implements httpapi.Servers.
func (g *group) Workers(ctx context.Context) (api.Workers, error) {
	view, troubles, err := g.look(ctx)
	if err != nil {
		return api.Workers{}, notReady(err)
	}
	out := api.Workers{Workers: make([]api.Worker, 0, len(view.Workers)), Withheld: view.Withheld, Trouble: strings.Join(troubles, "; ")}
	placed := g.jobs.nomad.Placed()
	for _, w := range view.Workers {
		out.Workers = append(out.Workers, workerOf(&w, placed[w.ID]))
	}
	return out, nil
}

// WorkerDead implements httpapi.Servers. A worker whose client answers is not dead.
func (g *group) WorkerDead(ctx context.Context, req api.WorkerDeadRequest) (api.WorkerDead, error) {
	if _, err := g.scheduler.AwaitReconciled(ctx); err != nil {
		return api.WorkerDead{}, notReady(err)
	}
	view, _, err := g.look(ctx)
	if err != nil {
		return api.WorkerDead{}, notReady(err)
	}
	w, err := named(view.Workers, req.Worker)
	if err != nil {
		return api.WorkerDead{}, err
	}
	req.By = cmp.Or(req.By, "an operator")
	placed := g.jobs.nomad.Placed()[w.ID] // before the question: what comes later may be on a worker that is back
	switch answers, err := g.jobs.nomad.ClientAnswers(ctx, w.ID, w.Region, sureWithin); {
	case err != nil:
		return api.WorkerDead{}, notReady(err)
	case answers:
		return api.WorkerDead{}, &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: fmt.Sprintf(
			"worker %s is not dead: its Nomad client answers, and what it runs goes on. To have its tasks elsewhere, drain it: nomad node drain -enable %s",
			w.Name, w.ID)}
	}
	why := fmt.Sprintf("worker %s is dead, says %s", w.Name, req.By)
	if req.Reason != "" {
		why += ": " + req.Reason
	}
	g.log.Warn("a worker was declared dead", "worker", w.Name, "id", w.ID, "by", req.By, "reason", req.Reason)
	g.losses.declare(w.ID, req.By, why)
	ended, err := g.losses.giveUp(ctx, w, placed, req.By, why)
	out := api.WorkerDead{ID: w.ID, Name: w.Name, Attempts: make([]api.WorkerAttempt, 0, len(ended))}
	for _, p := range ended {
		out.Attempts = append(out.Attempts, attemptOn(p))
	}
	if err != nil {
		return out, notReady(fmt.Errorf("%d attempts on worker %s were given up, others may not have been; ask again: %w", len(ended), w.Name, err))
	}
	return out, nil
}

// shortestID is how much of a node's ID must be said at least.
const shortestID = 4

// named finds a worker by its name or, where none has it, by the beginning of its ID.
func named(list []workers.Worker, name string) (*workers.Worker, error) {
	var found, begins []*workers.Worker
	for i := range list {
		switch w := &list[i]; {
		case w.Name == name:
			found = append(found, w)
		case len(name) >= shortestID && strings.HasPrefix(w.ID, name):
			begins = append(begins, w)
		}
	}
	if len(found) == 0 {
		found = begins
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: fmt.Sprintf(
			"there is no worker %q; \"cairn operator workers\" lists them", name)}
	}
	var ids []string
	for _, w := range found {
		ids = append(ids, w.ID)
	}
	return nil, &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: fmt.Sprintf(
		"%q may be any of %d workers; say which by its ID: %s", name, len(found), strings.Join(ids, ", "))}
}

// Orphans implements httpapi.Servers. A job whose run cannot be read might be one: that is an error.
func (g *group) Orphans(ctx context.Context) (api.Orphans, error) {
	var unread error
	found, err := g.jobs.nomad.Orphans(ctx, func(id workflow.AttemptID) nomad.Fate {
		fate, err := g.jobs.know(ctx, id)
		if err != nil && unread == nil {
			unread = fmt.Errorf("attempt %s: %w", id, err)
		}
		return fate
	})
	if err == nil {
		err = unread
	}
	if err != nil {
		return api.Orphans{}, notReady(err)
	}
	out := api.Orphans{Orphans: make([]api.Orphan, 0, len(found))}
	for _, o := range found {
		out.Orphans = append(out.Orphans, api.Orphan{
			Run: string(o.Run), Attempt: string(o.Attempt), JobID: o.JobID, Name: o.Name, Region: o.Region, Namespace: o.Namespace,
			Status: o.Status, SubmittedAt: o.Submitted,
		})
	}
	return out, nil
}

func workerOf(w *workers.Worker, placed []nomad.Placed) api.Worker {
	out := api.Worker{
		ID: w.ID, Name: w.Name, Region: w.Region, Datacenter: w.Datacenter, Pool: w.Pool, Version: w.Version, Status: string(w.Status), Reason: w.Reason,
		Nomad: string(w.Node.Status), Eligible: w.Eligible, Draining: w.Draining, Attempts: make([]api.WorkerAttempt, 0, len(placed)),
	}
	if m := w.Consul; m != nil {
		out.Consul = &api.WorkerHealth{
			Machine: w.Machine.Name, Datacenter: w.Machine.Datacenter, Alive: string(m.Alive.Status), Client: string(m.Client.Status),
		}
	}
	for _, p := range placed {
		out.Attempts = append(out.Attempts, attemptOn(p))
	}
	return out
}

func attemptOn(p nomad.Placed) api.WorkerAttempt {
	t := api.WorkerAttempt{Run: string(p.Run), Task: p.Task, Attempt: string(p.Attempt), AllocID: p.Alloc}
	if p.Key != "" {
		t.Key = &p.Key
	}
	return t
}

// yield waits after a step-down until another server leads, or none is likely to.
func (g *group) yield(ctx context.Context, epoch uint64) {
	ctx, cancel := context.WithTimeout(ctx, yieldPatience)
	defer cancel()
	list, err := g.members(ctx)
	if err != nil {
		g.log.Warn("the other servers are not known; one of them gets its time", "error", err)
	} else if !slices.ContainsFunc(list, func(m consul.Member) bool { return m.Name != g.name && m.Problem == "" }) {
		g.log.Warn("there is no other healthy server; standing again at once")
		return
	}
	if h, _, err := g.elector.Next(ctx, epoch); err == nil {
		g.log.Info("another server leads", "name", h.Name)
	} else if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		g.log.Warn("no other server took the leadership; standing again", "waited", yieldPatience.String())
	}
}

// notReady is an error of Consul or Nomad in the words of the API.
func notReady(err error) error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNotReady, Message: err.Error()}
}

// alone is the server that needs no other.
type alone struct {
	name, address, url, version string
	scheduler                   *scheduler.Scheduler
}

// Leader implements httpapi.Servers.
func (a *alone) Leader(context.Context) (api.Leader, error) {
	if !a.scheduler.Leading() {
		return api.Leader{}, nil
	}
	return api.Leader{Name: a.name, URL: a.url, Epoch: a.scheduler.Epoch()}, nil
}

// Members implements httpapi.Servers.
func (a *alone) Members(context.Context) ([]api.Member, error) {
	return []api.Member{{
		Name: a.name, Address: a.address, Version: a.version, Healthy: true,
		Leader: a.scheduler.Leading(), Answers: true,
	}}, nil
}

// StepDown implements httpapi.Servers: it refuses.
func (a *alone) StepDown(context.Context, api.StepDownRequest) (api.SteppedDown, error) {
	return api.SteppedDown{}, &api.Error{
		Status: http.StatusConflict, Code: api.CodeConflict,
		Message: "this server runs with -dev: there is no other one that could lead",
	}
}

// Workers implements httpapi.Servers: it has none.
func (a *alone) Workers(context.Context) (api.Workers, error) {
	return api.Workers{}, &api.Error{
		Status: http.StatusNotFound, Code: api.CodeNotFound,
		Message: "this server runs with -dev: it runs tasks itself, and has no workers",
	}
}

// WorkerDead implements httpapi.Servers: it has none.
func (a *alone) WorkerDead(ctx context.Context, _ api.WorkerDeadRequest) (api.WorkerDead, error) {
	_, err := a.Workers(ctx)
	return api.WorkerDead{}, err
}

// Check implements httpapi.Servers: there is nothing that it depends on.
func (a *alone) Check(context.Context) (api.Checkup, error) {
	return api.Checkup{}, &api.Error{
		Status: http.StatusNotFound, Code: api.CodeNotFound,
		Message: "this server runs with -dev: it depends on no Nomad and no Consul that could be looked at",
	}
}

// Orphans implements httpapi.Servers: it has none.
func (a *alone) Orphans(context.Context) (api.Orphans, error) {
	return api.Orphans{Orphans: []api.Orphan{}}, nil
}
