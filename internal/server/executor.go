// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Supervise is the body of the hidden command that keeps the processes of one local run: local.Supervise.
func Supervise(ctx context.Context, args []string) error { return local.Supervise(ctx, args) }

// localInflight is how many tasks of a local run go at once where nothing else is said: most tasks wait for something else
// than the processor, and a laptop should stay usable.
func localInflight() int { return max(8, 4*runtime.NumCPU()) }

// openExecutor makes the executor of a run folder and makes sure that it can be reached. tend, if any, is to be run beside
// the scheduler; release ends the executor.
func openExecutor(ctx context.Context, cfg Config, f folder, kind Kind, store scheduler.Store) (x scheduler.Executor, tend func(context.Context, *scheduler.Scheduler), release func() error, err error) {
	switch kind {
	case Local:
		e, err := local.OpenExecutor(local.ExecutorConfig{Dir: string(f), Command: cfg.Supervisor, Logger: cfg.Logger})
		if err != nil {
			return nil, nil, nil, err
		}
		return e, nil, e.Close, nil
	case Nomad:
		e, err := newNomad(ctx, cfg, store)
		if err != nil {
			return nil, nil, nil, err
		}
		if err := e.Reach(ctx); err != nil {
			return nil, nil, nil, &UnreachableError{Err: err}
		}
		return e, func(ctx context.Context, s *scheduler.Scheduler) { housekeep(ctx, cfg.Logger, e, s) }, func() error { return nil }, nil
	}
	return nil, nil, nil, fmt.Errorf("the run folder %s asks for executor %q, which this Cairn does not have", f, kind)
}

func newNomad(ctx context.Context, cfg Config, store scheduler.Store) (*nomad.Executor, error) {
	cluster, err := store.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	nc := nomad.DefaultConfig().WithEnvironment(cfg.Getenv)
	nc.Cluster, nc.Logger = cluster, cfg.Logger
	return nomad.New(nc)
}

// housekeepEvery is how often finished jobs are looked after (nomad.md, "Stopping, sweeping, purging").
const housekeepEvery = time.Minute

// housekeep stops jobs that should be dead and removes those that are old, until ctx ends.
func housekeep(ctx context.Context, log hclog.Logger, e *nomad.Executor, s *scheduler.Scheduler) {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		fate := func(id workflow.AttemptID) nomad.Fate { return fateOf(ctx, s, id) }
		if _, _, err := e.Sweep(ctx, fate); err != nil && ctx.Err() == nil {
			log.Warn("jobs in Nomad could not be swept; trying again", "error", err)
		}
		if _, err := e.Purge(ctx, fate); err != nil && ctx.Err() == nil {
			log.Warn("old jobs in Nomad could not be removed; trying again", "error", err)
		}
	}
}

// fateOf says what the saved state of a run knows of an attempt. What cannot be read counts as active: it is left alone.
func fateOf(ctx context.Context, s *scheduler.Scheduler, id workflow.AttemptID) nomad.Fate {
	run, task, instance, number, err := id.Parse()
	if err != nil {
		return nomad.FateUnknown
	}
	fate := nomad.FateActive
	err = s.View(ctx, run, func(_ *engine.Machine, state *engine.State) error {
		if task >= len(state.Instances) || instance >= len(state.Instances[task]) {
			return nil
		}
		for _, past := range state.Instances[task][instance].Past {
			if past.Number == number {
				fate = nomad.FateOver
			}
		}
		return nil
	})
	if errors.Is(err, scheduler.ErrNotFound) {
		return nomad.FateUnknown
	}
	return fate
}

// logReader is the executor of a run that nobody drives: it starts nothing, and reads logs.
type logReader struct {
	scheduler.Executor
	cfg   Config
	run   folder
	kind  Kind
	store scheduler.Store
}

// Logs implements scheduler.Executor.
func (r *logReader) Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	if r.kind == Local {
		return local.Logs(ctx, string(r.run), req)
	}
	e, err := newNomad(ctx, r.cfg, r.store)
	if err != nil {
		return nil, err
	}
	return e.Logs(ctx, req)
}
