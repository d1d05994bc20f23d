// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// logQuiet is how long a log of a task that is over must be silent before it is taken for complete: Nomad never ends a
// followed log, and copies the last lines while it already reports the end.
const logQuiet = time.Second

// Logs implements scheduler.Executor.
func (e *Executor) Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	release, err := slot(ctx, e.client.logStreams)
	if err != nil {
		return nil, err
	}
	log, err := e.openLog(ctx, req)
	if err != nil {
		release()
		return nil, err
	}
	return &releasing{ReadCloser: log, release: sync.OnceFunc(release)}, nil
}

type releasing struct {
	io.ReadCloser
	release func()
}

func (r *releasing) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}

func (e *Executor) openLog(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	l := &log{exec: e, req: req, stream: "stdout"}
	if req.Stderr {
		l.stream = "stderr"
	}
	if err := l.locate(ctx); err != nil {
		return nil, err
	}
	if !req.Follow {
		origin, offset := "start", int64(0)
		if req.Tail > 0 {
			origin, offset = "end", req.Tail
		}
		return l.open(ctx, false, origin, offset)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{log: l}
	body, err := f.connect(ctx)
	if errors.Is(err, scheduler.ErrNotFound) {
		over, _, readErr := l.over(ctx, 0)
		if readErr == nil && !over {
			err = nil // it will write once its task runs
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return f.run(ctx, cancel, body), nil
}

// log is one stream of one allocation.
type log struct {
	exec   *Executor
	req    scheduler.LogRequest
	realm  realm
	alloc  string
	task   string // Nomad's
	stream string
}

func (l *log) open(ctx context.Context, follow bool, origin string, offset int64) (io.ReadCloser, error) {
	l.exec.client.count.logReads.Add(1)
	body, err := l.exec.client.open(ctx, l.realm, "/v1/client/fs/logs/"+l.alloc, url.Values{
		"task": {l.task}, "type": {l.stream}, "follow": {strconv.FormatBool(follow)},
		"plain": {strconv.FormatBool(!follow)}, "origin": {origin}, "offset": {strconv.FormatInt(offset, 10)},
	})
	return body, l.explain(err)
}

// explain makes the sentinels of Nomad's refusals.
func (l *log) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case collected(err):
		return fmt.Errorf("%w: the client has already collected the logs of allocation %s", scheduler.ErrGone, l.alloc)
	case answered(err) == http.StatusNotFound, answered(err) == http.StatusBadRequest, missingFile(err):
		return fmt.Errorf("%w: %w", scheduler.ErrNotFound, err)
	}
	return fmt.Errorf("read the log: %w", err)
}

// over reports whether the task has ended on its client, waiting for a change after index for a while.
func (l *log) over(ctx context.Context, index uint64) (bool, uint64, error) {
	var found *nomadapi.Allocation
	var meta *nomadapi.QueryMeta
	c := l.exec.client
	err := c.call(ctx, &c.count.logReads, func(ctx context.Context, secret string) error {
		query := l.realm.query(ctx, secret)
		query.WaitIndex, query.WaitTime = index, c.timeout/2
		var err error
		found, meta, err = c.api.Allocations().Info(l.alloc, query)
		return err
	})
	if answered(err) == http.StatusNotFound {
		return true, 0, nil // collected: long over
	}
	if err != nil {
		return false, index, err
	}
	over := found.ClientStatus == clientComplete || found.ClientStatus == clientFailed || found.ClientStatus == clientLost
	if state := found.TaskStates[l.task]; state != nil {
		// Of several tasks this one may be over before, or, where another failed, after Nomad calls the allocation over.
		over = state.State == taskDead || found.ClientStatus == clientLost
	}
	if meta.LastIndex < index {
		return over, 0, nil
	}
	return over, meta.LastIndex, nil
}

// follower is a log that goes on until its allocation is over and everything is read.
type follower struct {
	*log
	pipe *io.PipeWriter
	last atomic.Int64 // when something was last written, in nanoseconds
	busy atomic.Bool  // something is being written: the reader is slow
	// The position reached: a rotated file and the offset in it. Only counting gives it: the offset that a frame of
	// Nomad carries is neither that of its beginning nor of its end.
	begun  bool
	file   int
	offset int64
}

// connect opens the log at the position reached; at first at its beginning, or as far before its end as was asked for.
func (f *follower) connect(ctx context.Context) (io.ReadCloser, error) {
	if !f.begun && f.req.Tail == 0 {
		return f.open(ctx, true, "start", 0)
	}
	sizes, err := f.sizes(ctx)
	if err != nil {
		return nil, err
	}
	var start, total int64
	for _, size := range sizes {
		total += size
	}
	if !f.begun {
		start = max(0, total-f.req.Tail)
		f.file, f.offset = 0, start
		for _, file := range slices.Sorted(maps.Keys(sizes)) {
			f.file = file
			if f.offset < sizes[file] {
				break
			}
			f.offset -= sizes[file]
		}
		f.begun = true
	} else {
		for file, size := range sizes {
			if file < f.file {
				start += size
			}
		}
		if _, there := sizes[f.file]; there {
			start += f.offset
		}
	}
	return f.open(ctx, true, "start", start)
}

// sizes lists the rotated files of the stream, task.stdout.N, that the client still has.
func (f *follower) sizes(ctx context.Context) (map[int]int64, error) {
	var list []nomadapi.AllocFileInfo
	e := f.exec
	err := e.read(ctx, &e.client.count.logReads, f.realm, "/v1/client/fs/ls/"+f.alloc, url.Values{"path": {"alloc/logs"}}, &list)
	if err != nil {
		return nil, f.explain(err)
	}
	sizes := map[int]int64{}
	for _, info := range list {
		number, ours := strings.CutPrefix(info.Name, f.task+"."+f.stream+".")
		if file, err := strconv.Atoi(number); ours && err == nil {
			sizes[file] = info.Size
		}
	}
	return sizes, nil
}

// run copies frames into a pipe. Closing the reader ends it and waits for that.
func (f *follower) run(ctx context.Context, cancel context.CancelFunc, body io.ReadCloser) io.ReadCloser {
	reader, writer := io.Pipe()
	f.pipe = writer
	var group sync.WaitGroup
	quiet, cancelQuiet := context.WithCancel(ctx)
	group.Go(func() {
		defer cancelQuiet()
		f.awaitEnd(quiet)
	})
	group.Go(func() {
		defer cancelQuiet()
		writer.CloseWithError(f.copyAll(ctx, quiet, body))
	})
	return &followed{PipeReader: reader, end: func() {
		cancel()
		group.Wait()
	}}
}

type followed struct {
	*io.PipeReader
	end func()
}

func (f *followed) Close() error {
	err := f.PipeReader.Close() // first: it unblocks the writer
	f.end()
	return err
}

// awaitEnd returns when the allocation is over and its log has been quiet for a moment.
func (f *follower) awaitEnd(ctx context.Context) {
	for over, index, failures := false, uint64(0), 0; !over; {
		var err error
		over, index, err = f.over(ctx, index)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		if pace.Wait(ctx, failures) != nil {
			return
		}
	}
	f.last.CompareAndSwap(0, time.Now().UnixNano())
	for {
		rest := logQuiet - time.Since(time.Unix(0, f.last.Load()))
		if f.busy.Load() {
			rest = logQuiet
		}
		if rest <= 0 {
			return
		}
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// copyAll copies frames until quiet ends, connecting again when the connection breaks.
func (f *follower) copyAll(ctx, quiet context.Context, body io.ReadCloser) error {
	for failures := 0; ; {
		if body != nil {
			stop := context.AfterFunc(quiet, func() { body.Close() })
			wrote, err := f.copyFrames(body)
			stop()
			body.Close()
			if errors.Is(err, errReader) {
				return nil
			}
			if wrote {
				failures = 0
			}
		}
		if quiet.Err() != nil {
			return ctx.Err() // nil when it is complete
		}
		failures++
		if pace.Wait(quiet, failures) != nil {
			continue
		}
		var err error
		body, err = f.connect(quiet)
		if errors.Is(err, scheduler.ErrGone) {
			return err
		}
	}
}

// errReader: nobody reads the pipe any more.
var errReader = errors.New("the reader has closed the log")

// copyFrames copies what comes and counts it.
func (f *follower) copyFrames(body io.Reader) (wrote bool, err error) {
	frames := json.NewDecoder(body)
	for {
		var frame nomadapi.StreamFrame
		if err := frames.Decode(&frame); err != nil {
			return wrote, err
		}
		if len(frame.Data) == 0 {
			continue
		}
		file, err := strconv.Atoi(frame.File[strings.LastIndexByte(frame.File, '.')+1:])
		if err != nil {
			return wrote, fmt.Errorf("a log frame names no rotated file: %q", frame.File)
		}
		if !f.begun || file != f.file {
			f.begun, f.file, f.offset = true, file, 0
		}
		f.offset += int64(len(frame.Data))
		f.busy.Store(true)
		_, err = f.pipe.Write(frame.Data)
		f.last.Store(time.Now().UnixNano())
		f.busy.Store(false)
		if err != nil {
			return wrote, errReader
		}
		wrote = true
	}
}
