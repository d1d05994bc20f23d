// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Rerun asks for a new run of the definition of a run that is over.
type Rerun struct {
	ID             workflow.RunID // drawn when it is empty, as in Submission
	Source         workflow.RunID
	Selection      engine.Selection
	Params         map[string]workflow.Value // of the new run, checked against the definition
	Given          []string                  // names of those that were given, for Source or now
	Namespaces     []string                  // as in Submission
	IdempotencyKey string                    // as in Submission
	By, Reason     string
	ScheduledAt    workflow.Time // 0 = that of Source
	// Origin is where Source is stored; nil = the scheduler's own store.
	Origin Store
}

// verbRerun is how a rerun shows among the verbs of the run that it made.
const verbRerun engine.EventKind = "rerun"

// Rerun starts a new run of the definition of a run that is over; what its selection leaves out stands in it as it ended
// there. *engine.Misfit: the source is not over, or lacks what the selection needs. ErrNotFound: there is no such run. The
// others as for Submit.
func (s *Scheduler) Rerun(ctx context.Context, re Rerun) (workflow.RunID, error) {
	origin := re.Origin
	if origin == nil {
		origin = s.cfg.Store
	}
	load, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	m, source, err := s.loadFrom(load, origin, re.Source)
	if err != nil {
		return "", err
	}
	from := &source.Input
	scheduledAt := re.ScheduledAt
	if scheduledAt == 0 {
		scheduledAt = from.ScheduledAt
	}
	sub := Submission{
		ID: re.ID, Definition: m.Definition(), Params: re.Params, Given: re.Given, Labels: maps.Clone(from.Labels),
		Namespace: from.Namespace, Namespaces: re.Namespaces, IdempotencyKey: re.IdempotencyKey, By: re.By, ScheduledAt: scheduledAt,
	}
	return s.submit(ctx, sub, func(m *engine.Machine, in engine.Input) (*engine.State, error) {
		in.CopiedFrom = re.Source
		state, err := m.Rerun(in, source, re.Selection)
		if err != nil {
			return nil, err
		}
		state.Head.Verbs = append(state.Head.Verbs, engine.Verb{At: in.CreatedAt, Kind: verbRerun, By: re.By, Reason: re.Reason})
		return state, nil
	})
}

// Delete removes a run that is over, and the runs that it started. ErrConflict: it is not over, or a run that is not over
// has started it.
func (s *Scheduler) Delete(ctx context.Context, id workflow.RunID) error {
	t, err := s.leading(ctx)
	if err != nil {
		return fmt.Errorf("delete run %s: %w", id, err)
	}
	load, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	m, state, err := s.load(load, id)
	switch {
	case err != nil:
		return err
	case !state.Head.Status.Terminal():
		return fmt.Errorf("delete run %s, which is %s: %w", id, state.Head.Status, ErrConflict)
	}
	if parent, active := t.parentOf(&state.Input); active {
		return fmt.Errorf("delete run %s, which run %s has started and needs: %w", id, parent, ErrConflict)
	}
	// The children first: what is left after a crash in between still hangs below its parent, and goes the next time.
	for _, child := range childrenOf(m, state) {
		mine, err := s.startedBy(ctx, child, id)
		if err == nil && mine {
			err = s.Delete(ctx, child)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("delete run %s: %w", id, err)
		}
	}
	remove, done := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer done()
	err = s.cfg.Store.Delete(remove, t.epoch, id)
	if errors.Is(err, ErrFenced) {
		t.lost(err)
	}
	return err
}

// childrenOf lists the runs that the attempts of a run name, copied ones too.
func childrenOf(m *engine.Machine, state *engine.State) []workflow.RunID {
	var ids []workflow.RunID
	seen := map[workflow.RunID]bool{"": true}
	add := func(id workflow.RunID) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for n := range state.Tasks {
		if m.Definition().Tasks[n].BodyKind != workflow.BodyRunWorkflow {
			continue
		}
		for i, in := range state.Instances[n] {
			for _, a := range in.Past {
				add(a.Place.Child)
			}
			add(m.ChildOf(state, n, i))
		}
	}
	return ids
}

// startedBy reports whether a run is a child of another one: results that were copied name the children of their source.
func (s *Scheduler) startedBy(ctx context.Context, child, parent workflow.RunID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	_, state, err := s.load(ctx, child)
	if err != nil {
		return false, err
	}
	by, _, _, _, err := state.Input.Parent.Parse()
	return err == nil && by == parent, nil
}
