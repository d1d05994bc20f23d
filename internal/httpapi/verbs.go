// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// rule says when a verb fits. done are the statuses in which it has been done already: repeating it changes nothing.
type rule struct {
	event engine.EventKind
	fits  []workflow.RunStatus
	done  []workflow.RunStatus
}

var rules = map[api.Verb]rule{
	api.VerbStop: {
		event: engine.Stop,
		fits:  []workflow.RunStatus{workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused},
		done:  []workflow.RunStatus{workflow.RunStopping, workflow.RunCancelled},
	},
	api.VerbTerminate: {
		event: engine.Terminate,
		fits: []workflow.RunStatus{
			workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused, workflow.RunStopping,
		},
		done: []workflow.RunStatus{workflow.RunCancelled},
	},
	api.VerbPause: {
		event: engine.Pause,
		fits:  []workflow.RunStatus{workflow.RunRunning},
		done:  []workflow.RunStatus{workflow.RunPausing, workflow.RunPaused},
	},
	api.VerbResume: {
		event: engine.Resume,
		fits:  []workflow.RunStatus{workflow.RunPausing, workflow.RunPaused},
		done:  []workflow.RunStatus{workflow.RunRunning},
	},
}

// cancellable are the statuses in which a task or instance can be cancelled.
var cancellable = []workflow.Status{workflow.Queued, workflow.Waiting, workflow.Starting, workflow.Running}

// verb answers the verbs: it checks that the verb fits, feeds it to the run, and says how the run stands then.
func (h *handler) verb(w http.ResponseWriter, r *http.Request, verb api.Verb) error {
	if err := unknown(r); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	req, err := verbRequest(r, verb)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	event := engine.Event{By: req.By, Reason: req.Reason}
	due := false
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		if verb == api.VerbCancel {
			due, err = cancelTask(m, s, req, &event)
		} else {
			due, err = runVerb(s, verb, &event)
		}
		return err
	})
	if err != nil {
		return err
	}
	if due {
		if err := h.Runs.Verb(ctx, id, event); err != nil {
			return err
		}
	}
	var out api.RunEntry
	err = h.Runs.View(ctx, id, func(_ *engine.Machine, s *engine.State) error {
		out = entry(&s.Input, &s.Head)
		return nil
	})
	if err != nil {
		return err
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// verbRequest reads the body of a verb; an empty one is fine unless a task must be named.
func verbRequest(r *http.Request, verb api.Verb) (api.VerbRequest, error) {
	var req api.VerbRequest
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return req, badRequest("the request is larger than %d bytes", maxBody)
	case err != nil:
		return req, fmt.Errorf("read the request: %w", err)
	}
	if len(body) > 0 {
		dec := json.NewDecoder(strings.NewReader(string(body)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			return req, badRequest("the request is not what %s takes: %s", verb, err)
		}
	}
	switch {
	case verb == api.VerbCancel && req.Task == "":
		return req, badRequest("cancel needs the name of a task")
	case verb != api.VerbCancel && (req.Task != "" || req.Key != nil):
		return req, badRequest("%s is for a whole run and takes no task", verb)
	}
	return req, nil
}

func runVerb(s *engine.State, verb api.Verb, event *engine.Event) (due bool, err error) {
	rule, status := rules[verb], s.Head.Status
	event.Kind = rule.event
	switch {
	case slices.Contains(rule.fits, status):
		return true, nil
	case slices.Contains(rule.done, status):
		return false, nil
	}
	return false, conflict("run %s is %s; %s is for runs that are %s", s.Input.Run, status, verb, either(rule.fits))
}

func cancelTask(m *engine.Machine, s *engine.State, req api.VerbRequest, event *engine.Event) (due bool, err error) {
	n, err := taskNumber(m, s, req.Task)
	if err != nil {
		return false, err
	}
	d := document{m, s, n}
	what, status := "task "+req.Task, s.Tasks[n].Status
	event.Kind, event.Task, event.Instance = engine.CancelTask, n, -1
	if req.Key != nil {
		i, err := d.find(req.Key)
		if err != nil {
			return false, err
		}
		what, status, event.Instance = fmt.Sprintf("instance %q of task %s", *req.Key, req.Task), d.status(i), i
	}
	switch {
	case slices.Contains(cancellable, status):
		return true, nil
	case status == workflow.Cancelled:
		return false, nil
	}
	return false, conflict("%s is %s; cancel is for what is %s", what, status, either(cancellable))
}

func conflict(format string, args ...any) error {
	return &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: fmt.Sprintf(format, args...)}
}

func either[S ~string](names []S) string {
	out := string(names[0])
	for i, name := range names[1:] {
		if i == len(names)-2 {
			out += " or " + string(name)
		} else {
			out += ", " + string(name)
		}
	}
	return out
}
