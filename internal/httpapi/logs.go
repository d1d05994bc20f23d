// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// logChunk is how much of a log is read at once: what a pipe holds.
const logChunk = 64 << 10

// target is the attempt whose log is asked for, as the run stands.
type target struct {
	req   scheduler.LogRequest
	ended bool  // it has a verdict
	none  error // why there is no such attempt (yet); nil when there is one
	later bool  // there may be one later
}

// logs answers /v1/run/ID/logs with the text. With follow it waits for the attempt to begin and goes on to its end.
func (h *handler) logs(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "task", "key", "attempt", "part", "stream", "follow", "tail"); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	query, err := logQuery(r)
	if err != nil {
		return err
	}
	if query.Follow {
		end, err := h.Watches.Begin()
		if err != nil {
			return err
		}
		defer end()
	}
	log, err := h.openLog(r.Context(), id, query)
	if err != nil {
		return err
	}
	defer func() {
		if err := log.Close(); err != nil {
			h.Logger.Debug("log does not close", "run", id, "error", err)
		}
	}()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	flush := func() {
		if err := out.Flush(); err != nil {
			h.Logger.Debug("log cannot be flushed", "run", id, "error", err)
		}
	}
	flush() // a follower sees that it is connected before the first line
	buf := make([]byte, logChunk)
	for {
		n, err := log.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil // nobody listens any more
			}
			if query.Follow {
				flush()
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			// The status is sent: only a broken connection tells the reader that this is not all of the log.
			h.Logger.Warn("log breaks off", "run", id, "task", query.Task, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

func logQuery(r *http.Request) (api.LogQuery, error) {
	query := r.URL.Query()
	out := api.LogQuery{Task: query.Get("task"), Part: query.Get("part")}
	if out.Task == "" {
		return out, badRequest("logs needs the name of a task: task=NAME")
	}
	if keys, ok := query["key"]; ok {
		out.Key = &keys[0]
	}
	switch stream := query.Get("stream"); stream {
	case "", "stdout":
	case "stderr":
		out.Stderr = true
	default:
		return out, badRequest("stream=%s: want stdout or stderr", stream)
	}
	attempt, err := number(r, "attempt", 0, 0, workflow.MaxAttemptNumber)
	if err != nil {
		return out, err
	}
	out.Attempt = int(attempt)
	if out.Tail, err = number(r, "tail", 0, 0, math.MaxInt64); err != nil {
		return out, err
	}
	out.Follow, err = flag(r, "follow", false)
	return out, err
}

// openLog opens the log of the attempt that is asked for. With follow it waits until there is one.
func (h *handler) openLog(ctx context.Context, id workflow.RunID, query api.LogQuery) (io.ReadCloser, error) {
	for {
		// The index is read before the state, so that a change in between is not waited for.
		index, err := h.Runs.Changes(ctx, id, 0)
		if err != nil {
			return nil, err
		}
		var t target
		err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
			t, err = find(m, s, query)
			return err
		})
		if err != nil {
			return nil, err
		}
		reason := t.none
		if t.none == nil {
			log, err := h.Runs.Logs(ctx, t.req)
			switch {
			case err == nil:
				return log, nil
			case errors.Is(err, scheduler.ErrGone):
				return nil, &api.Error{
					Status: http.StatusGone, Code: api.CodeGone,
					Message: fmt.Sprintf("the logs of attempt %s were collected by its worker already", t.req.Attempt),
				}
			case !errors.Is(err, scheduler.ErrNotFound):
				return nil, fmt.Errorf("open the log of attempt %s: %w", t.req.Attempt, err)
			}
			t.later = !t.ended
			reason = notFound("attempt %s has written no log", t.req.Attempt)
			if t.later {
				reason = notFound("attempt %s has written no log yet; -follow waits for it", t.req.Attempt)
			}
		}
		if !query.Follow || !t.later {
			return nil, reason
		}
		if _, err := h.Runs.Changes(ctx, id, index); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for the log: %w", ctx.Err())
		}
	}
}

// find says which attempt a query means.
func find(m *engine.Machine, s *engine.State, query api.LogQuery) (target, error) {
	n, err := taskNumber(m, s, query.Task)
	if err != nil {
		return target{}, err
	}
	d := document{m, s, n}
	over := s.Head.Status.Terminal()
	if kind := d.def().BodyKind; !kind.Cluster() && kind != workflow.BodyRunWorkflow {
		return target{none: notFound("task %s writes no log: it is of kind %s", query.Task, kind)}, nil
	}
	if d.def().Shape() != workflow.ShapePlain && !d.state().Expanded {
		none := notFound("task %s has no instances: it is %s", query.Task, d.state().Status)
		return target{none: none, later: !over && !d.state().Status.Terminal()}, nil
	}
	i, err := d.find(query.Key)
	if err != nil {
		return target{}, err
	}
	what := "task " + query.Task
	later := !over && !d.status(i).Terminal()
	if key := d.key(i); key != nil {
		what = fmt.Sprintf("instance %q of task %s", *key, query.Task)
	}
	none := fmt.Sprintf("it is %s", d.status(i))
	i = d.number(i)
	newest := 0
	var in *engine.Instance
	if begun := s.Instances[n]; i < len(begun) {
		in = begun[i]
		newest = in.Number
	}
	want := query.Attempt
	if want == 0 {
		want = newest
	}
	switch {
	case newest == 0:
		return target{none: notFound("%s has no attempt, and so no log: %s", what, none), later: later}, nil
	case want > newest:
		return target{none: notFound("%s has no attempt %d: the newest is %d", what, want, newest), later: later}, nil
	case d.def().BodyKind == workflow.BodyRunWorkflow:
		return target{none: d.logsOfChild(what, in, want)}, nil
	}
	t := target{ended: true, req: scheduler.LogRequest{
		Attempt: workflow.MakeAttemptID(s.Input.Run, n, i, want),
		Task:    query.Task,
		Part:    query.Part,
		Stderr:  query.Stderr,
		Follow:  query.Follow,
		Tail:    query.Tail,
	}}
	if in.Current != nil && in.Number == want {
		t.req.Place, t.ended = in.Current.Place, false
	}
	for k := range in.Past {
		if in.Past[k].Number == want {
			t.req.Place = in.Past[k].Place
		}
	}
	return t, nil
}

// logsOfChild says where the logs are of an attempt that is a run.
func (d document) logsOfChild(what string, in *engine.Instance, number int) error {
	var child workflow.RunID
	if in.Current != nil && in.Number == number {
		child = in.Current.Place.Child
	}
	for k := range in.Past {
		if in.Past[k].Number == number {
			child = in.Past[k].Place.Child
		}
	}
	if child == "" {
		return notFound("%s is a run of another workflow, which has not begun", what)
	}
	return notFound("%s writes no log itself, as it is run %s; ask for the log of one of that run's tasks: cairn runs logs %s TASK", what, child, child)
}

// find returns the position of the instance with a key.
func (d document) find(key *string) (int, error) {
	name, size := d.def().Name, d.size()
	if d.def().Shape() == workflow.ShapePlain {
		if key != nil {
			return 0, badRequest("task %s is no fan-out: it has no key %q", name, *key)
		}
		return 0, nil
	}
	if key == nil {
		if size == 1 {
			return 0, nil
		}
		return 0, badRequest("task %s has %d instances: name one by its key (%s)", name, size, d.someKeys())
	}
	for i := range size {
		if *d.key(i) == *key {
			return i, nil
		}
	}
	return 0, notFound("task %s has no instance %q; it has %s", name, *key, d.someKeys())
}

// someKeys names the first few instances.
func (d document) someKeys() string {
	const few = 5
	size := d.size()
	if size == 0 {
		return "none"
	}
	var keys []string
	for i := range min(size, few) {
		keys = append(keys, fmt.Sprintf("%q", *d.key(i)))
	}
	out := strings.Join(keys, ", ")
	if size > few {
		out += fmt.Sprintf(" and %d more", size-few)
	}
	return out
}

func taskNumber(m *engine.Machine, s *engine.State, name string) (int, error) {
	if n, ok := m.Graph().Number(name); ok {
		return n, nil
	}
	var names []string
	for i := range m.Definition().Tasks {
		names = append(names, m.Definition().Tasks[i].Name)
	}
	return 0, knownTask(string(s.Input.Run), name, names)
}

// knownTask refuses the name of a task that is not among those of a run.
func knownTask(run, name string, names []string) error {
	const few = 10
	switch {
	case name == "":
		return badRequest("name a task: task=NAME")
	case slices.Contains(names, name):
		return nil
	case len(names) > few:
		names = append(slices.Clone(names[:few]), fmt.Sprintf("%d more", len(names)-few))
	}
	return notFound("run %s has no task %q; it has %s", run, name, listed(names))
}
