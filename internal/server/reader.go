// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Reader gives access to a run without driving it.
type Reader struct {
	*client.Client
	Kind Kind // empty at a server
	// PID is the process that drives the run; 0 = none does, and verbs are refused: Resume it first.
	PID int

	release func()
}

// Close ends the use of the client.
func (r *Reader) Close() {
	r.Client.Close()
	r.release()
}

// A process that has just begun, or is about to end, holds the lock without answering: for so long that is taken for normal.
const (
	answerPatience = 3 * time.Second
	answerPause    = 50 * time.Millisecond
)

// Read finds a run: at the server, or through the socket of the process that drives it, else in its store. scheduler.ErrNotFound: there is no
// such run. What asks for a run whose store is gone is answered with the words of LostError.
func Read(ctx context.Context, cfg Config, id workflow.RunID) (*Reader, error) {
	if cfg.Server.Address != "" {
		return Remote(ctx, cfg)
	}
	f, run, err := folderWith(ctx, cfg, id)
	if err != nil {
		return nil, err
	}
	return readFolder(ctx, cfg, f, run)
}

func readFolder(ctx context.Context, cfg Config, f folder, run runFile) (*Reader, error) {
	patience, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	for {
		pid, err := local.Leader(string(f))
		if err != nil {
			return nil, err
		}
		if pid == 0 {
			return readStored(cfg, f, run)
		}
		r, err := readLive(patience, f, run, pid)
		if err == nil {
			return r, nil
		}
		pause := time.NewTimer(answerPause)
		select {
		case <-pause.C:
		case <-patience.Done():
			pause.Stop()
			return nil, fmt.Errorf("run %s is driven by process %d, which does not answer: %w", run.Run, pid, err)
		}
	}
}

func readLive(ctx context.Context, f folder, run runFile, pid int) (*Reader, error) {
	path, release, err := socketPath(f)
	if err != nil {
		return nil, err
	}
	r := &Reader{Client: client.Unix(path), Kind: run.Kind, PID: pid, release: release}
	if _, err := r.Health(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// visit makes a scheduler that never leads: it reads the runs of a folder that nobody drives.
func visit(cfg Config, f folder, run runFile) (*scheduler.Scheduler, *visitor, error) {
	store := &visitor{folder: f, run: run.Run}
	executor := &logReader{cfg: cfg, run: f, kind: run.Kind, store: store}
	sc := schedulerConfig(cfg, NewRun{Kind: run.Kind})
	sc.Store, sc.Executor, sc.Elector = store, executor, local.NewElector(string(f))
	s, err := scheduler.New(sc)
	return s, store, err
}

// readStored serves the API over the store in this process.
func readStored(cfg Config, f folder, run runFile) (*Reader, error) {
	s, _, err := visit(cfg, f, run)
	if err != nil {
		return nil, err
	}
	handler := httpapi.New(httpapi.Config{Runs: stored{explaining{s}}, Version: cfg.Version, Logger: cfg.Logger.Named("http")})
	return &Reader{Client: client.InProcess(f.store(), handler), Kind: run.Kind, release: func() {}}, nil
}

// stored is a scheduler that never leads: it refuses verbs at once instead of waiting.
type stored struct{ explaining }

// Verb refuses: nobody would act upon it.
func (s stored) Verb(_ context.Context, id workflow.RunID, verb engine.Event) error {
	return &api.Error{
		Status: http.StatusConflict, Code: api.CodeNotDriven,
		Message: fmt.Sprintf("no process drives run %s, so nothing would come of %s: resume it first", id, verb.Kind),
	}
}

// Submit implements httpapi.Runs: it refuses, like that of a run that is driven.
func (s stored) Submit(context.Context, scheduler.Submission) (workflow.RunID, error) {
	return refuseSubmit()
}

// Rerun implements httpapi.Runs: it refuses, like that of a run that is driven.
func (s stored) Rerun(_ context.Context, re scheduler.Rerun) (workflow.RunID, error) {
	return refuseRerun(re)
}

// visitor is a store that is opened for each call and closed after it, so that a reader keeps nobody from driving the run.
type visitor struct {
	folder folder
	run    workflow.RunID
}

var _ scheduler.Store = (*visitor)(nil)

var errReadOnly = errors.New("nobody drives this run: it can only be read")

func (v *visitor) visit(do func(*local.Store) error) error {
	store, err := local.OpenStore(local.StoreConfig{Path: v.folder.store(), ReadOnly: true})
	if err == nil {
		err = errors.Join(do(store), store.Close())
	}
	if errors.Is(err, scheduler.ErrNotFound) {
		return v.folder.absent(v.run)
	}
	return err
}

// Load implements scheduler.Store.
func (v *visitor) Load(ctx context.Context, id workflow.RunID) (records []scheduler.Record, def scheduler.Definition, err error) {
	err = v.visit(func(s *local.Store) (err error) {
		records, def, err = s.Load(ctx, id)
		return err
	})
	return records, def, err
}

// List implements scheduler.Store.
func (v *visitor) List(ctx context.Context, filter scheduler.Filter) (list []scheduler.Summary, err error) {
	err = v.visit(func(s *local.Store) (err error) {
		list, err = s.List(ctx, filter)
		if err != nil || len(list) > 0 {
			return err
		}
		if all, err := s.List(ctx, scheduler.Filter{Children: true}); err != nil || len(all) > 0 {
			return err
		}
		return scheduler.ErrNotFound // it has one run or is not the store it was
	})
	return list, err
}

// Cluster implements scheduler.Store.
func (v *visitor) Cluster(ctx context.Context) (id string, err error) {
	err = v.visit(func(s *local.Store) (err error) {
		id, err = s.Cluster(ctx)
		return err
	})
	return id, err
}

// Create implements scheduler.Store: it refuses.
func (v *visitor) Create(context.Context, uint64, scheduler.NewRun) (workflow.RunID, error) {
	return "", errReadOnly
}

// Save implements scheduler.Store: it refuses.
func (v *visitor) Save(context.Context, uint64, workflow.RunID, []scheduler.Record, bool) error {
	return errReadOnly
}

// Delete implements scheduler.Store: it refuses.
func (v *visitor) Delete(context.Context, uint64, workflow.RunID) error { return errReadOnly }

// inStore reports whether a folder's store has the run. *LostError: it should.
func inStore(f folder, id workflow.RunID) (bool, error) {
	_, _, err := (&visitor{folder: f, run: id}).Load(context.Background(), id)
	if errors.Is(err, scheduler.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Query restricts List.
type Query struct {
	client.RunsQuery     // Next and PerPage are List's own
	Limit            int // 0 = no limit
}

// List returns the runs of the state folder, newest first. What cannot be read is left out, and told in problems.
func List(ctx context.Context, cfg Config, q Query) (runs []api.RunEntry, problems []error, err error) {
	if cfg.Server.Address != "" {
		return listRemote(ctx, cfg, q)
	}
	folders, err := runFolders(cfg.StateDir, time.Now())
	if err != nil {
		return nil, nil, err
	}
	for _, f := range folders {
		if q.Limit > 0 && len(runs) >= q.Limit {
			break
		}
		entries, err := listFolder(ctx, cfg, f, q)
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("list runs: %w", ctx.Err())
		}
		if err != nil {
			problems = append(problems, err)
		}
		runs = append(runs, entries...)
	}
	slices.SortStableFunc(runs, func(a, b api.RunEntry) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return runs, problems, nil
}

func listFolder(ctx context.Context, cfg Config, f folder, q Query) ([]api.RunEntry, error) {
	run, err := f.read()
	if err != nil {
		return nil, err
	}
	if q.Workflow != "" && q.Workflow != run.Workflow && !q.Children {
		return nil, nil
	}
	r, err := readFolder(ctx, cfg, f, run)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	page, err := listAll(ctx, r.Client, q)
	if err != nil {
		return nil, fmt.Errorf("list run %s: %w", run.Run, err)
	}
	return page.Runs, nil
}
