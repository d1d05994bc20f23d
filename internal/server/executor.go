// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/archive"
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
// the scheduler that s returns then; release ends the executor.
func openExecutor(
	ctx context.Context, cfg Config, f folder, kind Kind, store scheduler.Store, s func() *scheduler.Scheduler,
) (x scheduler.Executor, tend func(context.Context), release func() error, err error) {
	switch kind {
	case Local:
		e, err := local.OpenExecutor(local.ExecutorConfig{Dir: string(f), Command: cfg.Supervisor, Logger: cfg.Logger})
		if err != nil {
			return nil, nil, nil, err
		}
		return e, nil, e.Close, nil
	case Nomad:
		k := &keeper{log: cfg.Logger.Named("nomad"), scheduler: s}
		if k.nomad, err = newNomad(ctx, cfg, store, k.sweep); err != nil {
			return nil, nil, nil, err
		}
		if err := k.nomad.Reach(ctx); err != nil {
			return nil, nil, nil, &UnreachableError{Err: err}
		}
		return k.nomad, k.keep, func() error { return nil }, nil
	}
	return nil, nil, nil, fmt.Errorf("the run folder %s asks for executor %q, which this Cairn does not have", f, kind)
}

func newNomad(ctx context.Context, cfg Config, store scheduler.Store, onRestore func(context.Context)) (*nomad.Executor, error) {
	cluster, err := store.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	nc := nomad.DefaultConfig().WithEnvironment(cfg.Getenv)
	nc.Cluster, nc.Logger, nc.OnRestore = cluster, cfg.Logger, onRestore
	return nomad.New(nc)
}

// keepEvery is how often finished jobs are looked after (nomad.md, "Stopping, sweeping, purging").
const keepEvery = time.Minute

// keeper stops jobs in Nomad that should be dead, and removes those that are old.
type keeper struct {
	log       hclog.Logger
	nomad     *nomad.Executor
	scheduler func() *scheduler.Scheduler
	archive   *archive.Folder    // nil where runs do not leave their store
	surpassed func(epoch uint64) // tells the elector of an epoch above its own; nil where nobody else could have led
	recovered func(epoch uint64) // tells the elector that what was done before a restore is known; nil as above

	orphans int // met last
}

// keep looks after the jobs until ctx ends: when a leadership knows what was under way before, and every minute from then on.
func (k *keeper) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for last := uint64(0); ; {
		epoch, err := k.scheduler().AwaitReconciled(ctx)
		if err != nil {
			return // ctx has ended
		}
		if epoch == last {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if epoch, err = k.scheduler().AwaitReconciled(ctx); err != nil {
				return
			}
		}
		last = epoch
		if k.sweep(ctx); ctx.Err() != nil {
			return
		}
		if k.recovered != nil && !k.nomad.Doubts() {
			k.recovered(epoch)
		}
		if _, err := k.nomad.Purge(ctx, k.fate(ctx)); err != nil && ctx.Err() == nil {
			k.log.Warn("old jobs could not be removed; trying again", "error", err)
		}
	}
}

// sweep stops the jobs whose attempts are over. One that was started under a later epoch than this leadership's tells that the
// store was restored, even where no server has seen that.
func (k *keeper) sweep(ctx context.Context) {
	swept, err := k.nomad.Sweep(ctx, k.fate(ctx))
	if err != nil {
		if ctx.Err() == nil {
			k.log.Warn("jobs could not be swept; trying again", "error", err)
		}
		return
	}
	if n := len(swept.Orphans); n != k.orphans {
		k.orphans = n
		if n > 0 {
			k.log.Warn("jobs run on in Nomad whose runs the store does not know", "jobs", n, "first", swept.Orphans[0].JobID)
		}
	}
	if k.surpassed != nil {
		k.surpassed(swept.Epoch)
	}
}

func (k *keeper) fate(ctx context.Context) func(workflow.AttemptID) nomad.Fate {
	return func(id workflow.AttemptID) nomad.Fate {
		fate, err := k.know(ctx, id)
		if err != nil {
			k.log.Debug("what became of an attempt cannot be read", "attempt", id, "error", err)
		}
		return fate
	}
}

// know says what the store and the archive know of an attempt. What cannot be read counts as active, so that it is left alone.
func (k *keeper) know(ctx context.Context, id workflow.AttemptID) (nomad.Fate, error) {
	fate, err := fateOf(ctx, k.scheduler(), id)
	if fate == nomad.FateUnknown && k.archive != nil {
		return k.fateOfArchived(ctx, id)
	}
	return fate, err
}

// fateOfArchived says what the archive knows of an attempt whose run the store does not know: it is over with its run.
func (k *keeper) fateOfArchived(ctx context.Context, id workflow.AttemptID) (nomad.Fate, error) {
	run, _, _, _, err := id.Parse()
	if err != nil {
		return nomad.FateUnknown, nil
	}
	lastAt, err := k.archive.LastAt(ctx, run)
	switch {
	case errors.Is(err, scheduler.ErrNotFound):
		return nomad.FateUnknown, nil
	case err != nil:
		return nomad.FateActive, fmt.Errorf("ask the archive: %w", err)
	case time.Since(lastAt) > overFor:
		return nomad.FateOver, nil
	}
	return nomad.FateActive, nil
}

// overFor is how long an attempt must be over before its job is looked after: until then Nomad ends it by itself.
const overFor = 10 * time.Second

// fateOf says what the saved state of a run knows of an attempt. What cannot be read counts as active, and so does what has
// only just ended: both are left alone.
func fateOf(ctx context.Context, s *scheduler.Scheduler, id workflow.AttemptID) (nomad.Fate, error) {
	run, task, instance, number, err := id.Parse()
	if err != nil {
		return nomad.FateUnknown, nil
	}
	fate := nomad.FateActive
	err = s.View(ctx, run, func(_ *engine.Machine, state *engine.State) error {
		if task >= len(state.Instances) || instance >= len(state.Instances[task]) {
			return nil
		}
		for _, past := range state.Instances[task][instance].Past {
			if past.Number == number && time.Since(past.EndedAt.Time()) > overFor {
				fate = nomad.FateOver
			}
		}
		return nil
	})
	if errors.Is(err, scheduler.ErrNotFound) {
		return nomad.FateUnknown, nil
	}
	return fate, err
}

// explaining is a scheduler that says which folder is gone where the API knows only that logs are.
type explaining struct{ *scheduler.Scheduler }

// Logs implements httpapi.Runs.
func (e explaining) Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	log, err := e.Scheduler.Logs(ctx, req)
	var removed *local.RemovedError
	if errors.As(err, &removed) {
		err = &api.Error{Status: http.StatusGone, Code: api.CodeGone, Message: removed.Error()}
	}
	return log, err
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
	e, err := newNomad(ctx, r.cfg, r.store, nil)
	if err != nil {
		return nil, err
	}
	return e.Logs(ctx, req)
}
