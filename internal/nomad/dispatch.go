// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// maxPayload is Nomad's limit of a dispatch.
const maxPayload = 16 << 10

// barEvery is how often a child is looked for that may still come.
const barEvery = 5 * time.Second

// barring is what a dispatch needs that has to be prevented. Nomad makes up the ID of a child, so that none can be registered
// stopped in its place: it can only be waited until no call is under way any more that may make one.
type barring struct {
	since  time.Time // when this executor first heard of the attempt, or last tried to dispatch it
	until  time.Time // when nothing can come any more
	next   time.Time // when to look again
	reason string    // empty: it is not being prevented
}

// decodeDispatch reads the body of a dispatch.
func decodeDispatch(s engine.Start, moved Moved) (*workflow.DispatchBody, error) {
	var body workflow.DispatchBody
	err := json.Unmarshal(s.Body, &body)
	if err == nil && body.Job == "" {
		err = errors.New("it names no job")
	}
	if err != nil {
		return nil, fmt.Errorf("decode the dispatch of task %s: %w", s.Task, err)
	}
	body.Region = moved.now(body.Region)
	return &body, nil
}

// dispatchRealm says where the job to dispatch is.
func dispatchRealm(region string, s engine.Start, body *workflow.DispatchBody) realm {
	return realmOf(region, s, &nomadapi.Job{Namespace: &body.Namespace, Region: &body.Region})
}

// dispatchToken makes Nomad dispatch an attempt once for as long as it knows the child.
func dispatchToken(cluster string, attempt workflow.AttemptID) string {
	return "cairn/" + cluster + "/" + string(attempt)
}

// dispatchInfix stands in the ID of a child between that of its parent and the prefix that was asked for.
const dispatchInfix = "/dispatch-"

// parseChildID finds the attempt that a job was dispatched for: parent/dispatch-cairn-…x-<time>-<random>.
func parseChildID(cluster, id string) (workflow.AttemptID, bool) {
	at := strings.LastIndex(id, dispatchInfix)
	if at < 0 {
		return "", false
	}
	name := id[at+len(dispatchInfix):]
	for range 2 {
		cut := strings.LastIndexByte(name, '-')
		if cut < 0 {
			return "", false
		}
		name = name[:cut]
	}
	return parseJobID(cluster, name)
}

// launchDispatch dispatches the job of an attempt whose acceptance is not recorded.
func (e *Executor) launchDispatch(ctx context.Context, a *attempt, s engine.Start) error {
	if s.Body == nil {
		_, err := e.barDispatch(ctx, a, s, tombNoBody)
		return err
	}
	body, err := decodeDispatch(s, e.cfg.Moved)
	if err != nil {
		e.invalid(a, err.Error())
		return nil
	}
	if err := e.holds(s, dispatchRealm(e.cfg.Region, s, body)); err != nil {
		e.invalid(a, err.Error())
		return nil
	}
	e.describeDispatch(a, s, body)
	if e.age(s) > e.cfg.IntentLimit {
		_, err := e.barDispatch(ctx, a, s, tombUnknown)
		return err
	}
	if a.unsure {
		if found, err := e.adoptChild(ctx, a, s, body.Job); found || err != nil {
			return err
		}
	}
	err = e.dispatch(ctx, a, s, body)
	switch {
	case errors.Is(err, errKilled):
		return nil
	case refusedDispatch(err):
		e.invalid(a, fmt.Sprintf("Nomad refuses to dispatch job %s in namespace %s: %s", body.Job, a.realm.namespace, sentenceOf(err)))
		return nil
	case err != nil:
		return e.troubled(err, a.unsure)
	}
	found, err := e.adoptChild(ctx, a, s, body.Job)
	if err == nil && !found {
		// Nomad up to now answers the loser of two dispatches with the same token with an ID that does not exist.
		a.unsure = true
		err = e.troubled(fmt.Errorf("job %s was dispatched, and Nomad does not know the child", body.Job), true)
	}
	return err
}

// dispatch makes the call. The token makes a repeated one answer with the first child.
func (e *Executor) dispatch(ctx context.Context, a *attempt, s engine.Start, body *workflow.DispatchBody) error {
	release, err := slot(ctx, e.client.registrations)
	if err != nil {
		return err
	}
	defer release()
	e.mu.Lock()
	killed := a.killed
	e.mu.Unlock()
	if killed {
		return errKilled
	}
	name, err := jobID(e.cfg.Cluster, s.Attempt, s.Task)
	if err != nil {
		return err
	}
	err = e.client.call(ctx, &e.client.count.registers, func(ctx context.Context, secret string) error {
		options := a.realm.write(ctx, secret)
		options.IdempotencyToken = dispatchToken(e.cfg.Cluster, s.Attempt)
		_, _, err := e.client.api.Jobs().DispatchOpts(&nomadapi.DispatchOptions{
			JobID: body.Job, Meta: body.Meta, Payload: body.Payload, IdPrefixTemplate: name, Priority: body.Priority,
		}, options)
		return err
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	a.barring.since = time.Now()
	if err != nil {
		if !refusedDispatch(err) && !notDone(err) {
			a.unsure = true
		}
		return fmt.Errorf("dispatch job %s: %w", body.Job, err)
	}
	return nil
}

// refusals are Nomad's words for dispatches that never succeed; it answers 500 to them, as to its own troubles.
var refusals = []string{
	"parameterized job not found", "is not a parameterized job", "is stopped", "Payload is not provided", "Payload provided but forbidden",
	"Payload exceeds maximum size", "unpermitted metadata keys", "did not provide required meta keys", "priority must be between",
}

// refusedDispatch reports that Nomad refused what was asked for, and would again.
func refusedDispatch(err error) bool {
	text := sentenceOf(err)
	return slices.ContainsFunc(refusals, func(words string) bool { return strings.Contains(text, words) })
}

// sentenceOf is what Nomad answered; empty when it did not.
func sentenceOf(err error) string {
	var s *statusError
	if errors.As(err, &s) {
		return s.body
	}
	return ""
}

// describeDispatch notes where the child will be, and has its realm watched and swept.
func (e *Executor) describeDispatch(a *attempt, s engine.Start, body *workflow.DispatchBody) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.realm = dispatchRealm(e.cfg.Region, s, body)
	e.watchRealm(a.realm)
	e.parents.add(family{a.realm, body.Job})
}

// adoptChild takes up the child of an attempt: the oldest, if there are several, and the younger ones are stopped. The parent's
// ID is empty when it is not known.
func (e *Executor) adoptChild(ctx context.Context, a *attempt, s engine.Start, parent string) (found bool, err error) {
	children, err := e.children(ctx, a, s, parent)
	if err != nil {
		return false, e.troubled(fmt.Errorf("look for what task %s dispatched: %w", s.Task, err), true)
	}
	if len(children) == 0 {
		return false, nil
	}
	for _, younger := range children[1:] {
		if younger.Stop {
			continue
		}
		e.log.Warn("a job was dispatched twice; stopping the younger one", "job", younger.ID, "older", children[0].ID)
		if _, err := e.deregister(ctx, realm{a.realm.region, younger.Namespace}, younger.ID, false); err != nil {
			return false, e.troubled(err, true)
		}
	}
	oldest := children[0]
	e.mu.Lock()
	a.realm = realm{a.realm.region, oldest.Namespace}
	delete(e.jobs, a.jobID)
	a.jobID = oldest.ID
	e.jobs[a.jobID] = a
	e.mu.Unlock()
	job, err := e.find(ctx, a)
	if err != nil {
		return false, e.troubled(fmt.Errorf("read job %s, which was dispatched: %w", a.jobID, err), true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.portray(job)
	e.watchRealm(a.realm)
	a.job = jobRuns
	if deref(job.Stop) {
		a.job = jobStopped
	}
	a.look, a.whyHeld = true, true // what came before its ID was known was not heard
	e.accept(a, deref(job.JobModifyIndex))
	return true, nil
}

// children lists what was dispatched for an attempt, the oldest first.
func (e *Executor) children(ctx context.Context, a *attempt, s engine.Start, parent string) ([]*nomadapi.JobListStub, error) {
	name, err := jobID(e.cfg.Cluster, s.Attempt, s.Task)
	if err != nil {
		return nil, err
	}
	where, prefix, filter := a.realm, parent+dispatchInfix+name+"-", ""
	if parent == "" {
		where.namespace = nomadapi.AllNamespacesNamespace
		prefix, filter = "", fmt.Sprintf("ID contains %q", dispatchInfix+name+"-")
	}
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return nil, err
	}
	defer release()
	var list []*nomadapi.JobListStub
	err = e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		query := where.query(ctx, secret)
		query.Prefix, query.Filter = prefix, filter
		var err error
		list, _, err = e.client.api.Jobs().List(query)
		return err
	})
	slices.SortFunc(list, func(x, y *nomadapi.JobListStub) int {
		return cmp.Or(cmp.Compare(x.CreateIndex, y.CreateIndex), cmp.Compare(x.ID, y.ID))
	})
	return list, err
}

// reattachDispatch takes up the child whose acceptance is recorded.
func (e *Executor) reattachDispatch(ctx context.Context, a *attempt, s engine.Start) error {
	if body, err := decodeDispatch(s, e.cfg.Moved); err == nil {
		e.describeDispatch(a, s, body)
	}
	job, err := e.find(ctx, a)
	switch {
	case answered(err) == http.StatusNotFound:
		return nil // it will be looked for as every accepted job is
	case err != nil:
		return e.troubled(err, true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.realm.namespace = deref(job.Namespace)
	a.portray(job)
	return nil
}

// barDispatch makes sure that a dispatch which has not happened never will. When it has, barDispatch adopts the child instead
// and returns false. The end of a barred attempt is told when nothing can come any more: at once where nobody has tried.
func (e *Executor) barDispatch(ctx context.Context, a *attempt, s engine.Start, reason string) (barred bool, err error) {
	parent := ""
	if body, err := decodeDispatch(s, e.cfg.Moved); err == nil {
		e.describeDispatch(a, s, body)
		parent = body.Job
	}
	found, err := e.adoptChild(ctx, a, s, parent)
	if found || err != nil {
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	tried := a.unsure || e.age(s) > freshIntent
	if !tried || reason == tombUnknown { // by now nobody has tried for long
		e.finish(a, barredBy(reason), nil)
		return true, nil
	}
	if a.barring.reason == "" {
		a.barring.reason = reason
		a.barring.until = a.barring.since.Add(2 * e.cfg.CallTimeout)
		a.barring.next = earlier(a.barring.until, barEvery)
	}
	e.advance(a)
	return true, nil
}

// goOnBarring looks for a child that came late.
func (e *Executor) goOnBarring(ctx context.Context, a *attempt) error {
	e.mu.Lock()
	s, over := a.start, !time.Now().Before(a.barring.until)
	e.mu.Unlock()
	parent := ""
	if body, err := decodeDispatch(s, e.cfg.Moved); err == nil {
		parent = body.Job
	}
	found, err := e.adoptChild(ctx, a, s, parent)
	if found || err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if over {
		e.finish(a, barredBy(a.barring.reason), nil)
	}
	a.barring.next = earlier(a.barring.until, barEvery)
	return nil
}

// family is the children of one parent.
type family struct {
	realm  realm
	parent string
}

// families are the parents of the children that were dispatched here; the zero value is empty.
type families struct {
	known map[family]bool
	// sought is when children were last looked for among all jobs: those of parents that others dispatched, or that were
	// forgotten. Zero: it is to be done now.
	sought time.Time
}

const (
	// maxFamilies bounds what is remembered of parents.
	maxFamilies = 1000
	// seekAll is how often a sweep looks among all jobs, which costs Nomad a look at each.
	seekAll = time.Hour
)

func (f *families) add(parent family) {
	if len(f.known) >= maxFamilies && !f.known[parent] {
		f.known, f.sought = nil, time.Time{}
	}
	if f.known == nil {
		f.known = map[family]bool{}
	}
	f.known[parent] = true
}

func (f *families) unsure() bool { return time.Since(f.sought) >= seekAll }
