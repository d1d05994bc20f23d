// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// locate finds the allocation and the task whose log is meant.
func (l *log) locate(ctx context.Context) error {
	want, err := parsePart(l.req.Part)
	if err != nil {
		return err
	}
	jobID, err := l.findJob(ctx)
	if err != nil {
		return err
	}
	if l.alloc == "" || want.group != "" {
		if l.alloc, err = l.pick(ctx, jobID, want); err != nil {
			return err
		}
	}
	c := l.exec.client
	var found *nomadapi.Allocation
	err = c.call(ctx, &c.count.logReads, func(ctx context.Context, secret string) error {
		var err error
		found, _, err = c.api.Allocations().Info(l.alloc, l.realm.query(ctx, secret))
		return err
	})
	if answered(err) == http.StatusNotFound {
		return fmt.Errorf("%w: Nomad does not know allocation %s any more, and its logs are gone with it", scheduler.ErrGone, l.alloc)
	}
	if err != nil {
		return fmt.Errorf("find the log: %w", err)
	}
	if found.Job == nil {
		l.task = firstOf(want.task, l.req.Task)
		return nil
	}
	if elsewhere := groupOf(found.Job, want); want.task != "" && want.group == "" && elsewhere != "" && elsewhere != found.TaskGroup &&
		!hasTask(found.Job, found.TaskGroup, want.task) {
		// The name says which group is meant, and the allocation that is known is of another.
		want.group = elsewhere
		if l.alloc, err = l.pick(ctx, deref(found.Job.ID), want); err != nil {
			return err
		}
		l.task = want.task
		return nil
	}
	l.task, err = taskOf(found.Job, found.TaskGroup, want)
	return err
}

// findJob says where the attempt's job is, and which allocation is known to be meant.
func (l *log) findJob(ctx context.Context) (id string, err error) {
	e, req := l.exec, l.req
	l.realm = realm{region: e.cfg.Region, namespace: nomadapi.DefaultNamespace}
	l.alloc, id = req.Place.AllocID, req.Place.JobID
	e.mu.Lock()
	a := e.attempts[req.Attempt]
	if a != nil {
		l.realm, id = a.realm, a.jobID
		if first := firstAlloc(a); l.alloc == "" && first != nil {
			l.alloc = first.ID
		}
	}
	e.mu.Unlock()
	if a != nil || l.alloc != "" && req.Part == "" {
		return id, nil
	}
	if id == "" {
		if id, err = jobID(e.cfg.Cluster, req.Attempt, req.Task); err != nil {
			return "", fmt.Errorf("find the log: %w", err)
		}
	}
	job, err := e.find(ctx, &attempt{jobID: id, realm: l.realm})
	if answered(err) == http.StatusNotFound && req.Place.JobID == "" {
		// Nomad makes up the IDs of dispatched jobs.
		var children []*nomadapi.JobListStub
		s := engine.Start{Attempt: req.Attempt, Task: req.Task}
		if children, err = e.children(ctx, &attempt{realm: l.realm}, s, ""); err == nil && len(children) > 0 {
			l.realm.namespace = children[0].Namespace
			return children[0].ID, nil
		}
		if err == nil {
			return "", fmt.Errorf("%w: Nomad does not know job %s", scheduler.ErrNotFound, id)
		}
	}
	switch {
	case answered(err) == http.StatusNotFound && l.alloc != "":
		return id, nil // purged: the allocation says the rest
	case answered(err) == http.StatusNotFound:
		return "", fmt.Errorf("%w: Nomad does not know job %s", scheduler.ErrNotFound, id)
	case err != nil:
		return "", fmt.Errorf("find the log: %w", err)
	}
	l.realm = realmOf(e.cfg.Region, engine.Start{}, job)
	return id, nil
}

func firstAlloc(a *attempt) *alloc {
	var first *alloc
	for _, alloc := range a.allocs {
		if first == nil || alloc.CreateIndex < first.CreateIndex {
			first = alloc
		}
	}
	return first
}

// pick chooses among the allocations of a job: the first one, or the last one of the group and index that are asked for.
func (l *log) pick(ctx context.Context, id string, want wanted) (string, error) {
	allocs, err := l.exec.allocations(ctx, l.realm, id)
	if err != nil {
		return "", fmt.Errorf("find the log: %w", err)
	}
	if len(allocs) == 0 {
		return "", fmt.Errorf("%w: job %s has not been placed", scheduler.ErrNotFound, id)
	}
	slices.SortFunc(allocs, func(x, y *alloc) int { return cmp.Compare(x.CreateIndex, y.CreateIndex) })
	if want.group == "" {
		return allocs[0].ID, nil
	}
	for _, a := range slices.Backward(allocs) {
		if a.TaskGroup == want.group && a.index() == want.index {
			return a.ID, nil
		}
	}
	var names []string
	for _, a := range allocs {
		if name := seatName(a.TaskGroup, a.index()); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return "", fmt.Errorf("%w: job %s has not placed %s; it has %s", scheduler.ErrNotFound, id, seatName(want.group, want.index), strings.Join(names, ", "))
}

// wanted is a part of a job: any where its fields are empty.
type wanted struct {
	group string
	index int
	task  string
}

var partForm = regexp.MustCompile(`^(?:([^/\[\]]+)(?:\[([0-9]+)\])?/)?([^/]+)$`)

// parsePart reads scheduler.LogRequest.Part.
func parsePart(text string) (wanted, error) {
	if text == "" {
		return wanted{}, nil
	}
	m := partForm.FindStringSubmatch(text)
	if m == nil {
		return wanted{}, fmt.Errorf("%w: %q names no task of a job: want TASK, GROUP/TASK or GROUP[INDEX]/TASK", scheduler.ErrNotFound, text)
	}
	w := wanted{group: m[1], task: m[3]}
	if m[2] != "" {
		var err error
		if w.index, err = strconv.Atoi(m[2]); err != nil {
			return wanted{}, fmt.Errorf("%w: %q: %s is no index of an allocation", scheduler.ErrNotFound, text, m[2])
		}
	}
	return w, nil
}

// groupOf is the first group with the task that is asked for; empty when there is none.
func groupOf(job *nomadapi.Job, want wanted) string {
	for _, g := range shapes(job) {
		if slices.ContainsFunc(g.tasks, func(t part) bool { return t.name == want.task }) {
			return g.name
		}
	}
	return ""
}

func hasTask(job *nomadapi.Job, group, task string) bool {
	_, err := taskOf(job, group, wanted{task: task})
	return err == nil
}

// taskOf is the task of a group whose log is meant: the first main one where none is named.
func taskOf(job *nomadapi.Job, group string, want wanted) (string, error) {
	var names []string
	for _, g := range shapes(job) {
		if g.name != group {
			continue
		}
		if want.task == "" {
			if mains := g.named(roleMain); len(mains) > 0 {
				return mains[0], nil
			}
		}
		for _, t := range g.tasks {
			if t.name == want.task {
				return t.name, nil
			}
			names = append(names, fmt.Sprintf("%s (%s)", t.name, t.role))
		}
	}
	return "", fmt.Errorf("%w: group %s has no task %q; its tasks are %s", scheduler.ErrNotFound, group, want.task, strings.Join(names, ", "))
}
