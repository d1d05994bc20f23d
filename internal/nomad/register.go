// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// launch registers the job of an attempt whose acceptance is not recorded.
func (e *Executor) launch(ctx context.Context, a *attempt, s engine.Start) error {
	if s.Body == nil {
		return e.adoptUnseen(ctx, a, s)
	}
	job, err := decodeBody(s, e.cfg.Moved)
	if err != nil {
		e.invalid(a, err.Error())
		return nil
	}
	complete(job, e.cfg.Cluster, a.jobID, s)
	e.keepOff(job, s)
	if err := e.holds(s, e.realmOf(s, job)); err != nil {
		e.invalid(a, err.Error())
		return nil
	}
	e.describe(a, s, job)
	if e.age(s) > e.cfg.IntentLimit {
		_, err := e.bar(ctx, a, s, tombUnknown)
		return err
	}
	refusal, err := e.validate(ctx, a.realm, bodyKey{s.Definition, s.Task}, job)
	switch {
	case err != nil:
		return e.troubled(fmt.Errorf("validate job %s: %w", a.jobID, err), a.unsure)
	case refusal != "":
		e.invalid(a, refusal)
		return nil
	}
	index, err := e.register(ctx, a, job, &e.client.count.registers)
	switch {
	case errors.Is(err, errKilled):
		return nil
	case errors.Is(err, errExists):
		return e.adopt(ctx, a, s)
	case err != nil:
		return e.troubled(err, a.unsure)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accept(a, index)
	return nil
}

// errKilled: a kill came before the registration was sent.
var errKilled = errors.New("killed before it was registered")

// register registers a job that must not exist yet. It returns errExists when it does.
func (e *Executor) register(ctx context.Context, a *attempt, job *nomadapi.Job, count *counter) (uint64, error) {
	release, err := slot(ctx, e.client.registrations)
	if err != nil {
		return 0, err
	}
	defer release()
	e.mu.Lock()
	killed := a.killed && (job.Stop == nil || !*job.Stop)
	e.mu.Unlock()
	if killed {
		return 0, errKilled
	}
	var index uint64
	err = e.client.call(ctx, count, func(ctx context.Context, secret string) error {
		resp, _, err := e.client.api.Jobs().EnforceRegister(job, 0, a.realm.write(ctx, secret))
		if err == nil {
			index = resp.JobModifyIndex
		}
		return err
	})
	if err != nil {
		if !errors.Is(err, errExists) && !notDone(err) {
			a.unsure = true // guarded by the attempt's turn, like every use of it outside of Start's beginning
		}
		return 0, fmt.Errorf("register job %s: %w", a.jobID, err)
	}
	return index, nil
}

// troubled counts and wraps an error that the scheduler answers by calling again.
func (e *Executor) troubled(err error, unsure bool) error {
	e.client.count.troubles.Add(1)
	return trouble(err, unsure)
}

// invalid ends an attempt that can never start.
func (e *Executor) invalid(a *attempt, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finish(a, outcome(engine.OutcomeInvalid, "%s", message), nil)
}

// reattach takes up an attempt whose acceptance is recorded. What it has been doing is learned from the next list, which
// asks for all attempts that are taken up at the same time in a few calls.
func (e *Executor) reattach(ctx context.Context, a *attempt, s engine.Start) error {
	if s.Kind == workflow.BodyDispatch {
		if err := e.reattachDispatch(ctx, a, s); err != nil {
			return err
		}
	} else if job, err := decodeBody(s, e.cfg.Moved); s.Body != nil && err == nil {
		e.describe(a, s, job)
	} else if job, err := e.find(ctx, a); err == nil {
		e.describe(a, s, job)
	} else if answered(err) != http.StatusNotFound {
		return e.troubled(err, true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchRealm(a.realm)
	e.accept(a, s.Accepted)
	e.wantList(a.realm)
	return nil
}

// adoptUnseen takes up the job of an attempt whose body cannot be rendered any more. Where there is none, none may come.
func (e *Executor) adoptUnseen(ctx context.Context, a *attempt, s engine.Start) error {
	_, err := e.bar(ctx, a, s, tombNoBody)
	return err
}

// adopt takes up a job that was registered before: by us with the answer lost, or by a leader before us.
func (e *Executor) adopt(ctx context.Context, a *attempt, s engine.Start) error {
	job, err := e.find(ctx, a)
	if err != nil {
		return e.troubled(fmt.Errorf("read job %s, which exists already: %w", a.jobID, err), true)
	}
	e.mu.Lock()
	killed := a.killed
	e.mu.Unlock()
	switch {
	case job.Meta[metaCluster] != e.cfg.Cluster:
		e.invalid(a, fmt.Sprintf("Nomad has a job %s that is not Cairn's", a.jobID))
		return nil
	case s.Body != nil && job.Meta[metaBody] != s.BodyHash && !killed: // to be stopped, whatever it is
		e.invalid(a, fmt.Sprintf("Nomad has a job %s that was registered with another body (%s, not %s)", a.jobID, job.Meta[metaBody], s.BodyHash))
		return nil
	}
	e.client.count.adoptions.Add(1)
	e.describe(a, s, job)
	e.mu.Lock()
	defer e.mu.Unlock()
	a.job, a.tombstone = jobRuns, job.Meta[metaTombstone]
	if job.Stop != nil && *job.Stop {
		a.job = jobStopped
	}
	a.look = a.tombstone == ""
	e.accept(a, deref(job.JobModifyIndex))
	return nil
}

// find reads the attempt's job, in whatever namespace it is when the body that names it cannot be had.
func (e *Executor) find(ctx context.Context, a *attempt) (*nomadapi.Job, error) {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return nil, err
	}
	defer release()
	var job *nomadapi.Job
	err = e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var err error
		job, _, err = e.client.api.Jobs().Info(a.jobID, a.realm.query(ctx, secret))
		return err
	})
	if answered(err) != http.StatusNotFound {
		return job, err
	}
	everywhere := realm{region: a.realm.region, namespace: nomadapi.AllNamespacesNamespace}
	var found []*nomadapi.JobListStub
	listErr := e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var err error
		query := everywhere.query(ctx, secret)
		query.Prefix = a.jobID
		found, _, err = e.client.api.Jobs().List(query)
		return err
	})
	if listErr != nil || len(found) == 0 {
		return nil, err
	}
	there := realm{region: a.realm.region, namespace: found[0].Namespace}
	err = e.client.call(ctx, &e.client.count.looks, func(ctx context.Context, secret string) error {
		var err error
		job, _, err = e.client.api.Jobs().Info(a.jobID, there.query(ctx, secret))
		return err
	})
	return job, err
}

// bar makes sure that a start which has not happened never will: it registers the job stopped. When the job exists, bar
// adopts it instead and returns false. barred ends the attempt.
func (e *Executor) bar(ctx context.Context, a *attempt, s engine.Start, reason string) (barred bool, err error) {
	if barred := e.barUnheld(a, s); barred {
		return true, nil
	}
	stone, own := standIn(s), s
	own.Kind = workflow.BodyTask // of what stands in
	if job, err := decodeBody(s, e.cfg.Moved); err == nil {
		stone = job
		complete(stone, e.cfg.Cluster, a.jobID, s)
	} else {
		complete(stone, e.cfg.Cluster, a.jobID, own)
	}
	e.describe(a, s, stone)
	_, err = e.register(ctx, a, tombstone(stone, reason), &e.client.count.tombstones)
	if answered(err) >= http.StatusInternalServerError {
		// Nomad may refuse this body for good, as it may have refused the start: with 500, like everything.
		stone = standIn(s)
		complete(stone, e.cfg.Cluster, a.jobID, own)
		stone.Namespace, stone.Region = ptr(a.realm.namespace), regionOf(a.realm)
		_, err = e.register(ctx, a, tombstone(stone, reason), &e.client.count.tombstones)
	}
	switch {
	case errors.Is(err, errExists):
		if err := e.adopt(ctx, a, s); err != nil {
			return false, err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return a.outcome != nil, nil
	case err != nil:
		return false, e.troubled(err, true)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finish(a, barredBy(reason), nil)
	return true, nil
}

// stop deregisters the attempt's job. The evaluation that Nomad makes of it comes after all that could still place
// something; tend waits for it.
func (e *Executor) stop(ctx context.Context, a *attempt, cause *engine.Outcome) error {
	eval, err := e.deregister(ctx, a.realm, a.jobID, false)
	if err != nil {
		return err
	}
	if eval == "" {
		eval = noEval
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.cause == nil {
		a.cause = cause
	}
	a.stopEval = eval
	e.advance(a)
	return nil
}

// noEval stands for the evaluation of stopping a job that Nomad does not know.
const noEval = "none"

// bodyKey names what is validated once.
type bodyKey struct{ definition, task string }

// validation is the first one of a task and definition: others wait for it.
type validation struct {
	done chan struct{}
	ok   bool // written before done is closed
}

// maxValid bounds what is remembered of validations. Forgetting costs one call.
const maxValid = 10_000

// validate has Nomad check the first body of each task and definition. refusal is what makes it invalid.
func (e *Executor) validate(ctx context.Context, r realm, key bodyKey, job *nomadapi.Job) (refusal string, err error) {
	for {
		e.mu.Lock()
		v := e.valid[key]
		if v == nil {
			if len(e.valid) >= maxValid {
				clear(e.valid)
			}
			v = &validation{done: make(chan struct{})}
			e.valid[key] = v
			e.mu.Unlock()
			return e.validateFirst(ctx, r, key, v, job)
		}
		e.mu.Unlock()
		select {
		case <-v.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if v.ok {
			return "", nil
		}
	}
}

func (e *Executor) validateFirst(ctx context.Context, r realm, key bodyKey, v *validation, job *nomadapi.Job) (refusal string, err error) {
	defer func() {
		v.ok = err == nil && refusal == ""
		e.mu.Lock()
		if !v.ok && e.valid[key] == v {
			delete(e.valid, key)
		}
		e.mu.Unlock()
		close(v.done)
	}()
	release, err := slot(ctx, e.client.registrations)
	if err != nil {
		return "", err
	}
	defer release()
	var resp *nomadapi.JobValidateResponse
	err = e.client.call(ctx, &e.client.count.validations, func(ctx context.Context, secret string) error {
		var err error
		resp, _, err = e.client.api.Jobs().Validate(job, r.write(ctx, secret))
		return err
	})
	if err != nil {
		return "", err
	}
	return complaint(resp), nil
}

// complaint is what makes a job invalid by Nomad's word; empty when it is not.
func complaint(resp *nomadapi.JobValidateResponse) string {
	switch {
	case len(resp.ValidationErrors) > 0:
		return "Nomad refuses the job: " + oneLine(strings.Join(resp.ValidationErrors, "; "))
	case resp.Error != "":
		return "Nomad refuses the job: " + oneLine(resp.Error)
	}
	return ""
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func regionOf(r realm) *string {
	if r.region == "" {
		return nil
	}
	return ptr(r.region)
}

// read makes one bounded GET.
func (e *Executor) read(ctx context.Context, count *counter, r realm, path string, params url.Values, out any) error {
	release, err := slot(ctx, e.client.reads)
	if err != nil {
		return err
	}
	defer release()
	return e.client.call(ctx, count, func(ctx context.Context, secret string) error {
		return e.client.get(ctx, r, path, params, out, secret)
	})
}

// waitEval waits until an evaluation is over. A blocking query, it is no load on anybody.
func (e *Executor) waitEval(ctx context.Context, r realm, id string) error {
	release, err := slot(ctx, e.client.waits)
	if err != nil {
		return err
	}
	defer release()
	for index := uint64(0); ; {
		var eval *nomadapi.Evaluation
		var meta *nomadapi.QueryMeta
		err := e.client.call(ctx, &e.client.count.evaluations, func(ctx context.Context, secret string) error {
			query := r.query(ctx, secret)
			query.WaitIndex, query.WaitTime = index, e.client.timeout/2
			var err error
			eval, meta, err = e.client.api.Evaluations().Info(id, query)
			return err
		})
		switch {
		case answered(err) == http.StatusNotFound:
			return nil // collected: long over
		case err != nil:
			return fmt.Errorf("read evaluation %s: %w", id, err)
		}
		switch eval.Status {
		case "complete", "failed", "canceled":
			return nil
		}
		if meta.LastIndex < index {
			index = 0
		} else {
			index = meta.LastIndex
		}
	}
}
