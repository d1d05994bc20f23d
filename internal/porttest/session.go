// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// session drives one executor and keeps everything its Watch reports. It also owns the ledger: a file to which the tasks
// themselves append, so that what ran is not told by the one who is under test.
type session struct {
	ground ExecutorGround
	ex     scheduler.Executor
	run    workflow.RunID

	stop    context.CancelFunc
	stopped chan error

	// mu guards events and changed.
	mu      sync.Mutex
	events  map[workflow.AttemptID][]engine.Event
	changed chan struct{} // closed and replaced with every event
}

func newSession(g ExecutorGround) (*session, error) {
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	s := &session{ground: g, ex: g.Executor, run: workflow.NewRunID(time.Now(), random),
		events: map[workflow.AttemptID][]engine.Event{}, changed: make(chan struct{})}
	s.watch()
	return s, nil
}

// with runs a check in a session of its own and ends the session.
func with(check func(ctx context.Context, s *session) error) func(context.Context, ExecutorGround) error {
	return func(ctx context.Context, g ExecutorGround) error {
		s, err := newSession(g)
		if err != nil {
			return err
		}
		err = check(ctx, s)
		if werr := s.unwatch(); err == nil && werr != nil && !errors.Is(werr, context.Canceled) {
			err = fmt.Errorf("watch: %w", werr)
		}
		return err
	}
}

func (s *session) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.stopped = cancel, make(chan error, 1)
	ex, stopped := s.ex, s.stopped
	go func() {
		stopped <- ex.Watch(ctx, func(ev engine.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events[ev.Attempt] = append(s.events[ev.Attempt], ev)
			close(s.changed)
			s.changed = make(chan struct{})
		})
	}()
}

func (s *session) unwatch() error {
	s.stop()
	return <-s.stopped
}

// restart puts a new executor on the same ground; what the old one reported is forgotten.
func (s *session) restart() error {
	if err := s.unwatch(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch: %w", err)
	}
	ex, err := s.ground.Restart()
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	s.mu.Lock()
	s.ex, s.events = ex, map[workflow.AttemptID][]engine.Event{}
	s.mu.Unlock()
	s.watch()
	return nil
}

// await returns the first event of the attempt of one of the kinds.
func (s *session) await(ctx context.Context, id workflow.AttemptID, kinds ...engine.EventKind) (engine.Event, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		for _, ev := range s.events[id] {
			for _, k := range kinds {
				if ev.Kind == k {
					s.mu.Unlock()
					return ev, nil
				}
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case err := <-s.stopped:
			s.stopped <- err
			return engine.Event{}, fmt.Errorf("watch ended while %v of attempt %s was awaited: %w", kinds, id, err)
		case <-ctx.Done():
			return engine.Event{}, fmt.Errorf("awaiting %v of attempt %s: %w", kinds, id, ctx.Err())
		}
	}
}

// ended returns the outcome of the attempt; that of a doubled event must be the same in what counts.
func (s *session) ended(ctx context.Context, id workflow.AttemptID) (engine.Outcome, engine.Event, error) {
	ev, err := s.await(ctx, id, engine.Ended)
	if err != nil {
		return engine.Outcome{}, ev, err
	}
	if ev.Outcome == nil {
		return engine.Outcome{}, ev, fmt.Errorf("attempt %s ended without an outcome", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.events[id] {
		if other.Kind == engine.Ended && other.Outcome.Kind != ev.Outcome.Kind {
			return *ev.Outcome, ev, fmt.Errorf("attempt %s ended as %s and as %s", id, ev.Outcome.Kind, other.Outcome.Kind)
		}
	}
	return *ev.Outcome, ev, nil
}

// wantExit waits for an end by itself with the exit code.
func (s *session) wantExit(ctx context.Context, id workflow.AttemptID, code int) (engine.Outcome, error) {
	o, _, err := s.ended(ctx, id)
	if err != nil {
		return o, err
	}
	if o.Kind != engine.OutcomeExited || o.ExitCode == nil || *o.ExitCode != code {
		return o, fmt.Errorf("attempt %s: got %s, want exited with code %d", id, describe(o), code)
	}
	return o, nil
}

func (s *session) wantKind(ctx context.Context, id workflow.AttemptID, kind engine.OutcomeKind) error {
	o, _, err := s.ended(ctx, id)
	if err == nil && o.Kind != kind {
		err = fmt.Errorf("attempt %s: got %s, want %s", id, describe(o), kind)
	}
	return err
}

func describe(o engine.Outcome) string {
	code := "none"
	if o.ExitCode != nil {
		code = fmt.Sprint(*o.ExitCode)
	}
	return fmt.Sprintf("%s (exit code %s, signal %d, %q)", o.Kind, code, o.Signal, o.Message)
}

// task is a shell script and how it is stopped.
type task struct {
	script      string
	killSignal  string        // empty: the driver's default
	killTimeout time.Duration // 0: the default
}

// start makes the start of an attempt of instance n.
func (s *session) start(n int, t task) engine.Start {
	nomadTask := map[string]any{
		"Name": "work", "Driver": "raw_exec",
		"Config":    map[string]any{"command": "/bin/sh", "args": []string{"-c", t.script}},
		"Env":       map[string]string{"LEDGER": s.path("ledger"), "GROUND": s.ground.Dir},
		"Resources": map[string]any{"CPU": 10, "MemoryMB": 16}, // many fit on one small worker
	}
	if t.killSignal != "" {
		nomadTask["KillSignal"] = t.killSignal
	}
	if t.killTimeout != 0 {
		nomadTask["KillTimeout"] = t.killTimeout
	}
	body, err := json.Marshal(map[string]any{"Type": "batch", "TaskGroups": []any{
		map[string]any{"Name": "work", "Count": 1, "Tasks": []any{nomadTask}}}})
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(body)
	return engine.Start{
		Attempt: workflow.MakeAttemptID(s.run, 0, n, 1), Run: s.run, Workflow: "porttest", Definition: "sha256:0", Namespace: "default",
		Priority: 50, Task: "work", Instance: n, Key: fmt.Sprintf("key %d", n), Number: 1, Generation: 1, Epoch: 1,
		Fence: time.Now().UnixMilli(), IntentAt: workflow.At(time.Now()), Body: body, BodyHash: hex.EncodeToString(sum[:]), Kind: workflow.BodyTask,
		OnWorkerLoss: workflow.DefaultPolicy().OnWorkerLoss, WantOutput: true, WantStdout: true,
	}
}

func (s *session) path(name string) string {
	return filepath.Join(s.ground.Dir, string(s.run)+"."+name)
}

// flag makes a file that tasks wait for.
func (s *session) flag(name string) error { return os.WriteFile(s.path(name), nil, 0o666) }

// waitFor is shell that waits for a flag.
func (s *session) waitFor(name string) string {
	return fmt.Sprintf("while ! [ -e '%s' ]; do sleep 0.02; done", s.path(name))
}

// enter and leave are shell that writes to the ledger.
const (
	enter = `echo "begin $CAIRN_INSTANCE_KEY" >> "$LEDGER"`
	leave = `echo "end $CAIRN_INSTANCE_KEY" >> "$LEDGER"`
)

func (s *session) ledger() ([]string, error) {
	b, err := os.ReadFile(s.path("ledger"))
	if errors.Is(err, fs.ErrNotExist) || len(b) == 0 && err == nil {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), err
}

// wantLedger waits for nothing: it counts lines now.
func (s *session) wantLedger(line string, times int) error {
	lines, err := s.ledger()
	if err != nil {
		return err
	}
	n := 0
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	if n != times {
		return fmt.Errorf("the ledger has %q %d times, want %d; it reads %q", line, n, times, lines)
	}
	return nil
}

// awaitLedger waits until a task has written the line.
func (s *session) awaitLedger(ctx context.Context, line string) error {
	return until(ctx, "the ledger has "+line, func() (bool, error) {
		lines, err := s.ledger()
		for _, l := range lines {
			if l == line {
				return true, err
			}
		}
		return false, err
	})
}

// text reads a log to its end.
func (s *session) text(ctx context.Context, req scheduler.LogRequest) (string, error) {
	r, err := s.ex.Logs(ctx, req)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// logs names a log of an attempt as the scheduler would, with the place that was reported.
func (s *session) logs(id workflow.AttemptID) scheduler.LogRequest {
	req := scheduler.LogRequest{Attempt: id, Task: "work"}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events[id] {
		if ev.Place != (engine.Place{}) {
			req.Place = ev.Place
		}
	}
	return req
}
