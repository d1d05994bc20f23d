// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/httpcall"
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Config is what this process gives to the runs it drives or reads.
type Config struct {
	StateDir string // see StateDir
	// Server is the one whose runs are meant; without an address: those of the state folder.
	Server  client.Server
	Version string // of Cairn, for the API
	Logger  hclog.Logger
	Getenv  func(string) string // NOMAD_*

	// Supervisor is the command line that starts the supervisor of local runs, to which the run folder is added.
	Supervisor []string
	// MaxInflight bounds the attempts in flight; 0 = the default of the executor.
	MaxInflight int
	// Fault is scheduler.Config.Fault; nil outside tests.
	Fault func(point string)
}

// NewRun is a run to be started. Its params are checked against the definition.
type NewRun struct {
	ID             workflow.RunID // from NewRunID
	Kind           Kind
	Definition     *workflow.Definition
	Params         map[string]workflow.Value
	Given          []string // names of the params that were given; the others have their defaults
	Labels         map[string]string
	IdempotencyKey string
	By             string
	ScheduledAt    workflow.Time // 0 = now
	// Evaluator is one of Definition that has worked before, and remembers; nil = a new one.
	Evaluator engine.Evaluator

	source *source // what it is a rerun of; nil = it is none
}

// NewRunID draws an ID for a run that is submitted now.
func NewRunID(now time.Time) workflow.RunID {
	var random [6]byte
	// Read never fails: the runtime ends the process instead.
	_, _ = rand.Read(random[:])
	return workflow.NewRunID(now, random)
}

// LockedError: another process drives the run.
type LockedError struct {
	Run workflow.RunID
	PID int
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("run %s is driven by process %d: follow it with \"cairn runs watch %s\", or end that process first", e.Run, e.PID, e.Run)
}

// OverError: there is nothing left to drive.
type OverError struct {
	Run    workflow.RunID
	Status workflow.RunStatus
}

func (e *OverError) Error() string { return fmt.Sprintf("run %s is over: %s", e.Run, e.Status) }

// UnreachableError: what executes the tasks cannot be reached, and nothing was started.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Session drives one run in this process, and serves its API on the socket of the run folder.
type Session struct {
	Run  workflow.RunID
	Kind Kind

	folder    folder
	store     *local.Store
	scheduler *scheduler.Scheduler
	http      *http.Server
	client    *client.Client
	release   func() // of the socket's path

	closeExecutor func() error
	trouble       func() string // of the executor; nil when it never has any to tell
	stop          context.CancelFunc
	requests      context.CancelFunc
	group         sync.WaitGroup
	done          chan struct{}
	err           error // of the scheduler; read after done
}

// Start makes the run folder, stores the run and drives it until Close. Errors: *KeyTakenError, *RunExistsError, *LostError,
// *UnreachableError.
func Start(ctx context.Context, cfg Config, run NewRun) (*Session, error) {
	key, err := claimKey(ctx, cfg, run)
	if err != nil {
		return nil, err
	}
	defer key.close()
	return start(ctx, cfg, run)
}

func start(ctx context.Context, cfg Config, run NewRun) (*Session, error) {
	f, err := makeFolder(cfg.StateDir, runFile{Run: run.ID, Workflow: run.Definition.Name, Kind: run.Kind, CreatedAt: time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	var s *Session
	store, err := local.OpenStore(local.StoreConfig{Path: f.store()})
	if err == nil {
		s, err = open(ctx, cfg, f, store, run)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(f)))
	}
	submit, cancel := s.while(ctx)
	defer cancel()
	err = s.submit(submit, run)
	if err == nil {
		err = f.complete()
	}
	if err == nil {
		return s, nil
	}
	err = errors.Join(err, s.Close())
	// A folder stays when the run is in the store, or may be: then it can be resumed.
	if found, unknown := inStore(f, run.ID); !found && unknown == nil {
		err = errors.Join(err, os.RemoveAll(string(f)))
	}
	return nil, err
}

// Resume drives a run whose process has ended. Kind "" takes up the kind the run was started with; another one is refused.
// A child run is driven with the run that somebody started above it, which is the session's unless it is over. Errors:
// *LockedError, *OverError, *LostError, *UnreachableError, scheduler.ErrNotFound.
func Resume(ctx context.Context, cfg Config, id workflow.RunID, kind Kind) (*Session, error) {
	return takeUp(ctx, cfg, id, kind, false)
}

// TakeUp is Resume for somebody who is about to use a verb: the run may be over.
func TakeUp(ctx context.Context, cfg Config, id workflow.RunID, kind Kind) (*Session, error) {
	return takeUp(ctx, cfg, id, kind, true)
}

func takeUp(ctx context.Context, cfg Config, id workflow.RunID, kind Kind, evenOver bool) (*Session, error) {
	f, run, err := folderWith(ctx, cfg, id)
	if err != nil {
		return nil, err
	}
	if kind != "" && kind != run.Kind {
		return nil, fmt.Errorf("run %s was started with -%s: resume it with \"cairn run -%s -resume %s\"", id, run.Kind, run.Kind, id)
	}
	top := run.Run
	pid, err := local.Leader(string(f))
	if err != nil {
		return nil, err
	}
	if pid != 0 {
		return nil, &LockedError{Run: id, PID: pid}
	}
	// A new store would hide that the run's own is gone.
	store, err := local.OpenStore(local.StoreConfig{Path: f.store(), Existing: true})
	if errors.Is(err, scheduler.ErrNotFound) {
		return nil, f.absent(top)
	}
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, cfg, f, store, NewRun{ID: top, Kind: run.Kind})
	if err != nil {
		return nil, err
	}
	status, err := s.status(ctx, top)
	if err == nil && status.Terminal() && id != top {
		s.Run = id
		status, err = s.status(ctx, id)
	}
	if err == nil && status.Terminal() && !evenOver {
		err = &OverError{Run: id, Status: status}
	}
	if err == nil {
		err = f.complete()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// status is how a run of the session's folder stands. *LostError: its store does not know it.
func (s *Session) status(ctx context.Context, id workflow.RunID) (status workflow.RunStatus, err error) {
	err = s.scheduler.View(ctx, id, func(_ *engine.Machine, state *engine.State) error {
		status = state.Head.Status
		return nil
	})
	if errors.Is(err, scheduler.ErrNotFound) {
		err = s.folder.absent(id)
	}
	return status, err
}

// while derives a context that also ends when the run is not driven any more: then nothing is worth waiting for.
func (s *Session) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.group.Go(func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// defaultInflight bounds the attempts in flight where nothing else is said.
func defaultInflight(kind Kind) int {
	if kind == Local {
		return localInflight()
	}
	return scheduler.DefaultConfig().MaxInflight
}

// open starts scheduler and API over a run folder, and takes over its store. The run may be in the store already.
func open(ctx context.Context, cfg Config, f folder, store *local.Store, run NewRun) (_ *Session, err error) {
	s := &Session{Run: run.ID, Kind: run.Kind, folder: f, store: store, done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	executor, tend, closeExecutor, err := openExecutor(ctx, cfg, f, run.Kind, s.store, func() *scheduler.Scheduler { return s.scheduler })
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeExecutor())
		}
	}()
	s.closeExecutor = closeExecutor
	sc := schedulerConfig(cfg, run)
	sc.Store, sc.Executor, sc.Elector = s.store, executor, local.NewElector(string(f))
	if s.scheduler, err = scheduler.New(sc); err != nil {
		return nil, err
	}
	if x, ok := executor.(interface{ Trouble() string }); ok {
		s.trouble = x.Trouble
	}
	handler := httpapi.New(httpapi.Config{Runs: noticing{explaining{s.scheduler}, s}, Version: cfg.Version, Logger: cfg.Logger.Named("http")})
	listener, release, err := listen(f)
	if err != nil {
		return nil, err
	}
	s.release = release
	s.client = client.InProcess(f.file(sockFileName), handler)
	s.serve(listener, handler, cfg.Logger)
	// The session outlives the call that opened it, and ends with Close.
	driving, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.group.Go(func() {
		defer close(s.done)
		defer stop()
		s.err = s.scheduler.Run(driving)
	})
	if tend != nil {
		s.group.Go(func() { tend(driving) })
	}
	return s, nil
}

func schedulerConfig(cfg Config, run NewRun) scheduler.Config {
	sc := scheduler.DefaultConfig()
	sc.Logger, sc.Fault = cfg.Logger, cfg.Fault
	sc.MaxInflight = defaultInflight(run.Kind)
	if cfg.MaxInflight > 0 {
		sc.MaxInflight = cfg.MaxInflight
	}
	l := newLanguage(run)
	sc.Evaluators, sc.Children = l.evaluator, l.child
	// Somebody started this process by hand, and may call everybody without it as well.
	sc.Caller = &httpcall.Caller{Policy: httpcall.Policy{Everything: true}}
	return sc
}

// serve answers on the socket until the server is shut down.
func (s *Session) serve(listener net.Listener, handler http.Handler, log hclog.Logger) {
	requests, cancel := context.WithCancel(context.Background())
	s.requests = cancel
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second, // a local caller that needs longer has died
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	s.group.Go(func() {
		if err := s.http.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("the API's socket broke; the run goes on", "socket", s.folder.file(sockFileName), "error", err)
		}
	})
}

// Client returns a client of the run's API that needs no socket. It works until Close.
func (s *Session) Client() *client.Client { return s.client }

// Folder is the path of the run folder.
func (s *Session) Folder() string { return string(s.folder) }

// Notice says why the run does not get on, for people; empty when it does.
func (s *Session) Notice() string { return s.noticeOf(s.Run) }

func (s *Session) noticeOf(id workflow.RunID) string {
	if s.trouble != nil {
		if notice := s.trouble(); notice != "" {
			return notice // it is the cause of whatever the scheduler has to say
		}
	}
	return s.scheduler.Notice(id)
}

// noticing is the scheduler with the executor's notices beside its own.
type noticing struct {
	explaining
	session *Session
}

func (n noticing) Notice(id workflow.RunID) string { return n.session.noticeOf(id) }

// Rerun implements httpapi.Runs: it refuses. A rerun is a run of its own, with a folder of its own.
func (n noticing) Rerun(_ context.Context, re scheduler.Rerun) (workflow.RunID, error) {
	return refuseRerun(re)
}

// Submit implements httpapi.Runs: it refuses, for the same reason.
func (n noticing) Submit(context.Context, scheduler.Submission) (workflow.RunID, error) {
	return refuseSubmit()
}

func refuseSubmit() (workflow.RunID, error) {
	return "", &api.Error{
		Status: http.StatusConflict, Code: api.CodeConflict,
		Message: "without a server every run has a process of its own: \"cairn run FILE\" starts one",
	}
}

func refuseRerun(re scheduler.Rerun) (workflow.RunID, error) {
	return "", &api.Error{
		Status: http.StatusConflict, Code: api.CodeConflict,
		Message: fmt.Sprintf("without a server every run has a process of its own: \"cairn runs rerun %s\" starts one", re.Source),
	}
}

// Done is closed when the run is not driven any more: by Close, or because the run folder was taken away.
func (s *Session) Done() <-chan struct{} { return s.done }

// closeGrace is how long requests under way have to take their last answer.
const closeGrace = time.Second

// Close stops driving the run, and leaves what runs alone. It returns why driving ended, if not by Close.
func (s *Session) Close() error {
	s.stop()
	<-s.done
	s.requests()
	grace, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		s.http.Close() // whoever did not take the answer in time
	}
	s.group.Wait()
	s.release()
	s.client.Close()
	return errors.Join(s.err, s.closeExecutor(), s.store.Close())
}
