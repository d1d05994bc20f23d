// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"bytes"
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Submission is a run to be started.
type Submission struct {
	// ID is drawn when it is empty; a caller sets it when params were evaluated with it.
	ID         workflow.RunID
	Definition *workflow.Definition
	Params     map[string]workflow.Value // checked against the definition
	Given      []string                  // names of the params that were given; the others have their defaults
	Labels     map[string]string
	Namespace  string // empty = that of the definition
	// Namespaces are those of Nomad that the tasks are held to; empty = they may name any.
	Namespaces []string
	// IdempotencyKey makes a repeated submission of the same workflow give the first run; empty = none.
	IdempotencyKey string
	By             string
	ScheduledAt    workflow.Time // 0 = now
}

// KeyTakenError: the idempotency key belongs to a run that was started with something else.
type KeyTakenError struct {
	Key string
	Run workflow.RunID
}

func (e *KeyTakenError) Error() string {
	return fmt.Sprintf("idempotency key %q was used for run %s with another definition or other params: submit with a new key", e.Key, e.Run)
}

// NewRunID draws the ID of a run that is submitted now.
func (s *Scheduler) NewRunID() workflow.RunID {
	var random [6]byte
	// Read never fails: the runtime ends the process instead.
	_, _ = crand.Read(random[:])
	return workflow.NewRunID(s.cfg.Now(), random)
}

// Submit stores a new run and starts it. It waits, as long as ctx lasts, until this process leads. A submission whose
// idempotency key is taken by an equal one gives that run; by another one, *KeyTakenError. ErrExists: the ID is taken.
func (s *Scheduler) Submit(ctx context.Context, sub Submission) (workflow.RunID, error) {
	return s.submit(ctx, sub, func(m *engine.Machine, in engine.Input) (*engine.State, error) { return m.NewState(in), nil })
}

func (s *Scheduler) submit(
	ctx context.Context, sub Submission, first func(*engine.Machine, engine.Input) (*engine.State, error),
) (workflow.RunID, error) {
	t, err := s.leading(ctx)
	if err != nil {
		return "", fmt.Errorf("submit workflow %s: %w", sub.Definition.Name, err)
	}
	encoded, err := workflow.EncodeDefinition(sub.Definition)
	if err != nil {
		return "", fmt.Errorf("submit workflow %s: %w", sub.Definition.Name, err)
	}
	m, err := s.newMachine(sub.Definition)
	if err != nil {
		return "", fmt.Errorf("submit workflow %s: %w", sub.Definition.Name, err)
	}
	state, err := first(m, s.input(t, sub))
	if err != nil {
		return "", fmt.Errorf("submit workflow %s: %w", sub.Definition.Name, err)
	}
	records, err := m.EncodeDirty(state)
	if err != nil {
		return "", fmt.Errorf("submit workflow %s: %w", sub.Definition.Name, err)
	}
	in := &state.Input
	s.cfg.fault(FaultBeforeCreate)
	create, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	taken, err := s.cfg.Store.Create(create, t.epoch, NewRun{
		ID: in.Run, Workflow: in.Workflow, Namespace: in.Namespace, IdempotencyKey: sub.IdempotencyKey, Labels: in.Labels,
		CreatedAt:  in.CreatedAt,
		Definition: Definition{Hash: sub.Definition.Hash, Bytes: encoded}, Records: records,
	})
	cancel()
	s.cfg.fault(FaultAfterCreate)
	switch {
	case err == nil:
		t.wrote.Store(true)
		s.log.Info("run submitted", "run", in.Run, "workflow", in.Workflow, "by", in.By)
		r := newRun(t, in.Run)
		r.machine, r.state = m, state
		t.start(r)
		return in.Run, nil
	case errors.Is(err, ErrExists):
		return s.sameAsFirst(ctx, taken, in, sub.IdempotencyKey, err)
	case errors.Is(err, ErrFenced):
		t.lost(err)
		return "", fmt.Errorf("submit workflow %s: %w", in.Workflow, err)
	}
	return s.afterUnknownCreate(ctx, t, in, err)
}

func (s *Scheduler) input(t *term, sub Submission) engine.Input {
	in := engine.Input{
		Run: sub.ID, Workflow: sub.Definition.Name, Definition: sub.Definition.Hash, Namespace: sub.Namespace,
		Namespaces: sub.Namespaces, Params: sub.Params, Given: sub.Given, Labels: sub.Labels, Trigger: "manual", By: sub.By, CreatedAt: t.clock.now(), ScheduledAt: sub.ScheduledAt,
	}
	if in.Run == "" {
		in.Run = s.NewRunID()
	}
	if in.Namespace == "" {
		in.Namespace = cmp.Or(sub.Definition.Namespace, "default")
	}
	if in.ScheduledAt == 0 {
		in.ScheduledAt = in.CreatedAt
	}
	return in
}

// sameAsFirst compares a submission with the run that has its key.
func (s *Scheduler) sameAsFirst(ctx context.Context, first workflow.RunID, in *engine.Input, key string, exists error) (workflow.RunID, error) {
	if key == "" || first == "" {
		return "", fmt.Errorf("submit workflow %s as run %s: %w", in.Workflow, in.Run, exists)
	}
	load, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	_, there, err := s.load(load, first)
	if err != nil {
		return "", fmt.Errorf("compare with run %s, which has idempotency key %q: %w", first, key, err)
	}
	sameValue := func(a, b workflow.Value) bool { return bytes.Equal(a.JSON, b.JSON) && a.Sensitive == b.Sensitive }
	if there.Input.Definition != in.Definition || there.Input.CopiedFrom != in.CopiedFrom || !maps.EqualFunc(there.Input.Params, in.Params, sameValue) {
		return "", &KeyTakenError{Key: key, Run: first}
	}
	return first, nil
}

// afterUnknownCreate finds out whether the run was stored. If it was, it is ours to drive, whoever still waits for the
// answer.
func (s *Scheduler) afterUnknownCreate(ctx context.Context, t *term, in *engine.Input, cause error) (workflow.RunID, error) {
	r := newRun(t, in.Run)
	t.start(r)
	select {
	case <-r.known:
		return in.Run, nil
	case <-r.over:
	case <-ctx.Done():
	}
	return "", fmt.Errorf("submit workflow %s as run %s: %w", in.Workflow, in.Run, cause)
}
