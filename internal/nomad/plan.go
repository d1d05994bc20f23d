// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Placement is what Nomad would do with a job, by its own dry run: nothing is registered.
type Placement struct {
	// Refused is Nomad's sentence about a job that it would not take; there are no groups then.
	Refused string
	// Groups are those of the job, in its order.
	Groups []GroupPlacement
	// Warnings are Nomad's, and what the placement would do to others.
	Warnings []string
}

// GroupPlacement is one group of a job.
type GroupPlacement struct {
	Name  string
	Count int
	// Unplaced is how many of Count would have to wait, Why the sentence that says for what. Impossible: every worker is
	// out of question, not merely full.
	Unplaced   int
	Why        string
	Impossible bool
}

// OK reports whether everything would be placed at once.
func (p Placement) OK() bool {
	for _, g := range p.Groups {
		if g.Unplaced > 0 {
			return false
		}
	}
	return p.Refused == ""
}

// Planner asks Nomad where jobs would be placed. It registers none.
type Planner struct {
	cfg    Config
	client *client
}

// NewPlanner makes a planner. It connects to nothing yet, and needs no Config.Cluster.
func NewPlanner(cfg Config) (*Planner, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = RenderedCluster
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Planner{cfg: cfg, client: c}, nil
}

// Close gives the planner's connections back.
func (p *Planner) Close() { p.client.http.CloseIdleConnections() }

// Plan says where the first attempt of an instance would be placed now, among all that runs. An error means that Nomad did
// not say; a job that it refuses is a Placement.
func (p *Planner) Plan(ctx context.Context, r Rendering) (Placement, error) {
	task := r.Definition.Tasks[r.Task]
	if !task.BodyKind.Cluster() {
		return Placement{}, fmt.Errorf("task %s needs no worker: there is nothing to place", task.Name)
	}
	job, where, refused, err := p.job(ctx, r)
	if err != nil || refused != "" {
		return Placement{Refused: refused}, err
	}
	var valid *nomadapi.JobValidateResponse
	err = p.client.call(ctx, &p.client.count.validations, func(ctx context.Context, secret string) error {
		var err error
		valid, _, err = p.client.api.Jobs().Validate(job, where.write(ctx, secret))
		return err
	})
	if err != nil {
		return Placement{}, p.trouble(task.Name, err)
	}
	if refused := complaint(valid); refused != "" {
		return Placement{Refused: refused}, nil
	}
	var plan *nomadapi.JobPlanResponse
	err = p.client.call(ctx, &p.client.count.validations, func(ctx context.Context, secret string) error {
		var err error
		plan, _, err = p.client.api.Jobs().PlanOpts(job, nil, where.write(ctx, secret))
		return err
	})
	if err != nil {
		return Placement{}, p.trouble(task.Name, err)
	}
	return placementOf(job, plan), nil
}

// job is what would be registered, and where.
func (p *Planner) job(ctx context.Context, r Rendering) (job *nomadapi.Job, where realm, refused string, err error) {
	s := r.start()
	if s.Kind == workflow.BodyDispatch {
		return p.dispatched(ctx, r)
	}
	if job, err = r.job(p.cfg.Cluster, p.cfg.Moved); err != nil {
		return nil, where, "", err
	}
	return job, realmOf(p.cfg.Region, s, job), "", nil
}

// dispatched is what Nomad would make of a dispatch: the parent's job with the meta that was given.
func (p *Planner) dispatched(ctx context.Context, r Rendering) (job *nomadapi.Job, where realm, refused string, err error) {
	s := r.start()
	body, err := decodeDispatch(s, p.cfg.Moved)
	if err != nil {
		return nil, where, "", err
	}
	where = dispatchRealm(p.cfg.Region, s, body)
	err = p.client.call(ctx, &p.client.count.looks, func(ctx context.Context, secret string) error {
		var err error
		job, _, err = p.client.api.Jobs().Info(body.Job, where.query(ctx, secret))
		return err
	})
	switch {
	case answered(err) == http.StatusNotFound:
		return nil, where, fmt.Sprintf("there is no job %s in namespace %s to dispatch", body.Job, where.namespace), nil
	case err != nil:
		return nil, where, "", p.trouble(s.Task, err)
	}
	if refused := misfit(job, body); refused != "" {
		return nil, where, refused, nil
	}
	id, err := jobID(p.cfg.Cluster, s.Attempt, s.Task)
	if err != nil {
		return nil, where, "", err
	}
	job.ID, job.ParameterizedJob = &id, nil
	job.Meta = withMeta(job.Meta, body.Meta)
	if body.Priority > 0 {
		job.Priority = &body.Priority
	}
	return job, where, "", nil
}

// misfit says what Nomad would refuse a dispatch for.
func misfit(parent *nomadapi.Job, body *workflow.DispatchBody) string {
	refuse := func(format string, args ...any) string {
		return fmt.Sprintf("job %s cannot be dispatched so: ", body.Job) + fmt.Sprintf(format, args...)
	}
	p := parent.ParameterizedJob
	switch {
	case p == nil:
		return refuse("it is not parameterized")
	case deref(parent.Stop):
		return refuse("it is stopped")
	case p.Payload == "required" && len(body.Payload) == 0:
		return refuse("it requires a payload")
	case p.Payload == "forbidden" && len(body.Payload) > 0:
		return refuse("it forbids a payload")
	case len(body.Payload) > maxPayload:
		return refuse("the payload has %d bytes, and Nomad takes %d", len(body.Payload), maxPayload)
	}
	if missing := without(p.MetaRequired, body.Meta); len(missing) > 0 {
		return refuse("it requires meta %s", strings.Join(missing, ", "))
	}
	allowed := map[string]string{}
	for _, key := range slices.Concat(p.MetaRequired, p.MetaOptional) {
		allowed[key] = ""
	}
	if extra := without(slices.Sorted(maps.Keys(body.Meta)), allowed); len(extra) > 0 {
		return refuse("it knows no meta %s", strings.Join(extra, ", "))
	}
	return ""
}

// without returns the names that m does not have.
func without(names []string, m map[string]string) []string {
	var missing []string
	for _, name := range names {
		if _, there := m[name]; !there {
			missing = append(missing, name)
		}
	}
	return missing
}

// placementOf reads the answer of a dry run.
func placementOf(job *nomadapi.Job, plan *nomadapi.JobPlanResponse) Placement {
	var out Placement
	for _, group := range job.TaskGroups {
		g := GroupPlacement{Name: deref(group.Name), Count: 1}
		if group.Count != nil {
			g.Count = *group.Count
		}
		if m := plan.FailedTGAllocs[g.Name]; m != nil {
			g.Unplaced, g.Why, g.Impossible = m.CoalescedFailures+1, placement(m), hopeless(m)
		}
		out.Groups = append(out.Groups, g)
	}
	if text := strings.TrimSpace(plan.Warnings); text != "" {
		out.Warnings = append(out.Warnings, oneLine(text))
	}
	if plan.Annotations != nil && len(plan.Annotations.PreemptedAllocs) > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("it would preempt %d running allocations", len(plan.Annotations.PreemptedAllocs)))
	}
	return out
}

func (p *Planner) trouble(task string, err error) error {
	//lint:ignore ST1005 Nomad is a name
	return fmt.Errorf("Nomad at %s does not say where task %s would run: %w", p.cfg.Address, task, bare(err))
}
