// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// followEvery is how often a followed log is looked at for more.
const followEvery = 50 * time.Millisecond

// RemovedError: the attempt has ended, and its folder, or the one of all attempts, was removed since. It is an ErrGone.
type RemovedError struct {
	Attempt workflow.AttemptID
	Folder  string
}

func (e *RemovedError) Error() string {
	return fmt.Sprintf("the logs of attempt %s are gone: somebody removed %s", e.Attempt, e.Folder)
}

// Unwrap returns ErrGone.
func (e *RemovedError) Unwrap() error { return scheduler.ErrGone }

// Logs implements scheduler.Executor.
func (e *Executor) Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	return openLog(ctx, e.dir, req, func() (bool, error) { return e.over(req.Attempt) })
}

// Logs opens a log of a run that nobody schedules: what is there by now.
func Logs(ctx context.Context, dir string, req scheduler.LogRequest) (io.ReadCloser, error) {
	return openLog(ctx, dir, req, func() (bool, error) { return true, nil })
}

func openLog(ctx context.Context, dir string, req scheduler.LogRequest, over func() (bool, error)) (io.ReadCloser, error) {
	if _, _, _, _, err := req.Attempt.Parse(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if req.Task == "" || strings.ContainsAny(req.Task, "/\x00") {
		return nil, fmt.Errorf("open log of attempt %s: %q is no task", req.Attempt, req.Task)
	}
	if req.Part != "" && req.Part != req.Task {
		return nil, fmt.Errorf("open log of attempt %s: %w: it has one task, %s, and no %s", req.Attempt, scheduler.ErrNotFound, req.Task, req.Part)
	}
	f := attemptFolder{dir: filepath.Join(dir, attemptsDir, string(req.Attempt)), task: req.Task}
	file, err := os.OpenInRoot(dir, filepath.Join(attemptsDir, string(req.Attempt), f.log(req.Stderr)))
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok, jerr := ended(dir, req.Attempt); jerr == nil && ok {
			for _, gone := range []string{filepath.Dir(f.dir), f.dir} {
				if _, serr := os.Stat(gone); errors.Is(serr, fs.ErrNotExist) {
					return nil, &RemovedError{Attempt: req.Attempt, Folder: gone}
				}
			}
		}
		return nil, fmt.Errorf("open log of attempt %s: %w", req.Attempt, scheduler.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open log of attempt %s: %w", req.Attempt, err)
	}
	if req.Tail > 0 {
		if st, err := file.Stat(); err == nil && st.Size() > req.Tail {
			if _, err := file.Seek(-req.Tail, io.SeekEnd); err != nil {
				return nil, errors.Join(fmt.Errorf("open log of attempt %s: %w", req.Attempt, err), file.Close())
			}
		}
	}
	if !req.Follow {
		return file, nil
	}
	return &follower{done: ctx.Done(), cause: ctx.Err, file: file, over: over}, nil
}

// over says whether an attempt writes no more: it has ended, or nobody runs it.
func (e *Executor) over(id workflow.AttemptID) (bool, error) {
	e.mu.Lock()
	t := e.tracked[id]
	known := t != nil && t.state.Phase != phaseUnknown
	isOver := known && t.state.Phase == phaseEnded
	e.mu.Unlock()
	if known {
		return isOver, nil
	}
	if _, ok, err := ended(e.dir, id); err != nil || ok {
		return ok, err
	}
	held, _, err := lockedBy(filepath.Join(e.dir, supervisorLock))
	return !held, err // no supervisor: nothing runs
}

// follower reads a growing file until its writer is over, or it is called off.
type follower struct {
	done  <-chan struct{}
	cause func() error // why done is closed
	file  *os.File
	over  func() (bool, error)
	last  bool // the writer is over: what is left is all there will be
}

func (f *follower) Read(p []byte) (int, error) {
	var t *time.Ticker
	for {
		n, err := f.file.Read(p)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) || len(p) == 0 {
			return n, err
		}
		if f.last {
			return 0, io.EOF
		}
		if f.last, err = f.over(); err != nil {
			return 0, err
		}
		if f.last {
			continue
		}
		if t == nil {
			t = time.NewTicker(followEvery)
			defer t.Stop()
		}
		select {
		case <-f.done:
			return 0, f.cause()
		case <-t.C:
		}
	}
}

func (f *follower) Close() error { return f.file.Close() }
