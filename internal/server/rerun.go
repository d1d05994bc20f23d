// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// source is what a rerun takes its results from.
type source struct {
	run       workflow.RunID
	store     scheduler.Store
	selection engine.Selection
	reason    string
}

// Rerun starts a new run of the definition of a run that is over, where that one ran, and drives it until Close. Errors:
// *engine.Misfit, *api.Error with CodeInvalid for params that are refused, and those of Start.
func Rerun(ctx context.Context, cfg Config, id workflow.RunID, req api.RerunRequest) (*Session, error) {
	f, file, err := folderWith(ctx, cfg, id)
	if err != nil {
		return nil, err
	}
	s, store, err := visit(cfg, f, file)
	if err != nil {
		return nil, err
	}
	run := NewRun{
		ID: NewRunID(time.Now()), Kind: file.Kind, IdempotencyKey: req.Key, By: req.By,
		source: &source{run: id, store: store, selection: engine.Selection{From: req.From, Only: req.Only}, reason: req.Reason},
	}
	var in engine.Input
	err = s.View(ctx, id, func(m *engine.Machine, state *engine.State) error {
		run.Definition, in = m.Definition(), state.Input // neither ever changes
		if _, err := m.Rerun(in, state, run.source.selection); err != nil {
			return err // before anything is made
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if run.Params, run.Given, err = httpapi.RerunParams(run.Definition, &in, run.ID, &req); err != nil {
		return nil, err
	}
	return Start(ctx, cfg, run)
}

// submit hands a new run to the scheduler of the session.
func (s *Session) submit(ctx context.Context, run NewRun) error {
	if from := run.source; from != nil {
		_, err := s.scheduler.Rerun(ctx, scheduler.Rerun{
			ID: run.ID, Source: from.run, Selection: from.selection, Params: run.Params, Given: run.Given,
			IdempotencyKey: run.IdempotencyKey, By: run.By, Reason: from.reason, Origin: from.store,
		})
		return err
	}
	_, err := s.scheduler.Submit(ctx, scheduler.Submission{
		ID: run.ID, Definition: run.Definition, Params: run.Params, Given: run.Given, Labels: run.Labels,
		IdempotencyKey: run.IdempotencyKey, By: run.By, ScheduledAt: run.ScheduledAt,
	})
	return err
}
