// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// form is what the request of a verb holds beside who and why.
type form struct {
	event    engine.EventKind // on the run
	taskKind engine.EventKind // on a task or instance; empty = the verb is for a whole run
	values   string           // what Values are; empty = it takes none
}

var forms = map[api.Verb]form{
	api.VerbStop:      {event: engine.Stop},
	api.VerbTerminate: {event: engine.Terminate},
	api.VerbPause:     {event: engine.Pause},
	api.VerbResume:    {event: engine.Resume},
	api.VerbRetry:     {event: engine.Retry, taskKind: engine.RetryTask},
	api.VerbCancel:    {taskKind: engine.CancelTask},
	api.VerbSkip:      {taskKind: engine.SkipTask},
	api.VerbSucceed:   {taskKind: engine.SucceedTask, values: "output"},
	api.VerbApprove:   {taskKind: engine.Approve, values: "input"},
	api.VerbReject:    {taskKind: engine.Reject},
}

// verb answers the verbs: it checks that the verb fits, feeds it to the run, and says how the run stands then.
func (h *handler) verb(w http.ResponseWriter, r *http.Request, verb api.Verb) error {
	if err := unknown(r); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	var req api.VerbRequest
	if err := decodeRequest(r, string(verb), &req); err != nil {
		return err
	}
	if err := forms[verb].check(verb, &req); err != nil {
		return err
	}
	req.By = h.by(r, req.By)
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	var event engine.Event
	due := false
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		if event, err = eventOf(m, s, verb, &req); err != nil {
			return err
		}
		due, err = m.Fits(s, event)
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
	return h.stands(ctx, w, r, id)
}

// stands answers with how a run stands.
func (h *handler) stands(ctx context.Context, w http.ResponseWriter, r *http.Request, id workflow.RunID) error {
	var out api.RunEntry
	err := h.Runs.View(ctx, id, func(_ *engine.Machine, s *engine.State) error {
		out = entry(&s.Input, &s.Head)
		return nil
	})
	if err != nil {
		return err
	}
	if note := askerOf(r).note; note != nil {
		note.Run, note.Workflow = out.ID, out.Workflow
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// retryPlan answers GET /v1/run/ID/retry: what a retry would run.
func (h *handler) retryPlan(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r, "task"); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	req := api.VerbRequest{Task: r.URL.Query().Get("task")}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	out := api.Plan{Tasks: []api.PlannedTask{}}
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		event, err := eventOf(m, s, api.VerbRetry, &req)
		if err != nil {
			return err
		}
		planned, err := m.RetryPlan(s, event)
		for _, p := range planned {
			out.Tasks = append(out.Tasks, api.PlannedTask{Name: p.Task, Instances: p.Instances})
		}
		return err
	})
	if err != nil {
		return err
	}
	h.reply(w, r, http.StatusOK, out)
	return nil
}

// decodeRequest reads the body of a request; an empty one leaves out as it is.
func decodeRequest(r *http.Request, what string, out any) error {
	return decodeUpTo(r, maxBody, what, out)
}

func decodeUpTo(r *http.Request, limit int64, what string, out any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &api.Error{
			Status: http.StatusRequestEntityTooLarge, Code: api.CodeTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", limit),
		}
	case err != nil:
		return fmt.Errorf("read the request: %w", err)
	case len(body) == 0:
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		return badRequest("the request is not what %s takes: %s", what, inOurWords(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the request is not what %s takes: there is more after the JSON document", what)
	}
	return nil
}

// inOurWords says what JSON is not as it should be, without the types of Go.
func inOurWords(err error) string {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		want = "a whole number"
	case reflect.Slice:
		want = "a list"
	}
	return fmt.Sprintf("%s is of type %s, want %s", cmp.Or(wrong.Field, "it"), wrong.Value, want)
}

// check refuses a request that lacks what its verb needs, or holds what it does not take.
func (f form) check(verb api.Verb, req *api.VerbRequest) error {
	given := len(req.Values) + len(req.Texts)
	switch {
	case f.taskKind == "" && (req.Task != "" || req.Key != nil):
		return badRequest("%s is for a whole run and takes no task", verb)
	case f.event == "" && req.Task == "":
		return badRequest("%s needs the name of a task", verb)
	case req.Task == "" && req.Key != nil:
		return badRequest("key names an instance of a task: %s needs the task too", verb)
	case f.values == "" && given > 0:
		return badRequest("%s takes no values", verb)
	case req.Generation != 0 && verb != api.VerbRetry:
		return badRequest("generation is for retry")
	case req.Generation < 0:
		return badRequest("generation counts from 1")
	}
	for name := range req.Texts {
		if _, both := req.Values[name]; both {
			return badRequest("%s %s is given twice: in values and in texts", f.values, name)
		}
	}
	return nil
}

// eventOf is what a verb means for the run as it stands.
func eventOf(m *engine.Machine, s *engine.State, verb api.Verb, req *api.VerbRequest) (engine.Event, error) {
	f := forms[verb]
	e := engine.Event{Kind: f.event, By: req.By, Reason: req.Reason, Generation: req.Generation, Instance: -1}
	if req.Task == "" {
		return e, nil
	}
	n, err := taskNumber(m, s, req.Task)
	if err != nil {
		return e, err
	}
	e.Kind, e.Task = f.taskKind, n
	if req.Key != nil {
		d := document{m, s, n}
		position, err := d.find(req.Key)
		if err != nil {
			return e, err
		}
		e.Instance = d.number(position)
	}
	e.Values, err = handValues(&m.Definition().Tasks[n], f.values, req)
	return e, err
}

// handValues are the values of a request as JSON. What has the wrong type is the engine's to refuse.
func handValues(t *workflow.Task, what string, req *api.VerbRequest) (map[string]workflow.Value, error) {
	if len(req.Values)+len(req.Texts) == 0 {
		return nil, nil
	}
	out := map[string]workflow.Value{}
	for name, v := range req.Values {
		out[name] = workflow.Value{JSON: v}
	}
	for name, text := range req.Texts {
		o := outputOf(t, name)
		if o == nil {
			out[name] = workflow.Value{JSON: json.RawMessage("null")} // the engine says what there is
			continue
		}
		v, err := hcl.Given{Text: text}.Value(o.Type.Text)
		if err != nil && o.Sensitive {
			err = errors.New("is not valid; because it is sensitive, the reason is not shown")
		}
		if err != nil {
			return nil, badRequest("%s %s of task %s %s", what, name, t.Name, err)
		}
		out[name] = workflow.Value{JSON: v}
	}
	for name, v := range out {
		if o := outputOf(t, name); o != nil && o.Sensitive {
			v.Sensitive = true
			out[name] = v
		}
	}
	return out, nil
}

func outputOf(t *workflow.Task, name string) *workflow.Output {
	for i := range t.Outputs {
		if t.Outputs[i].Name == name {
			return &t.Outputs[i]
		}
	}
	return nil
}
