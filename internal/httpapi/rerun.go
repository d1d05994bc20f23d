// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// rerun answers POST /v1/run/ID/rerun: it starts a new run of the same definition and says how that stands.
func (h *handler) rerun(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	var req api.RerunRequest
	if err := decodeRequest(r, "rerun", &req); err != nil {
		return err
	}
	if err := onlyOnce(req.Params, req.ParamTexts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	var def *workflow.Definition
	var source engine.Input
	err = h.Runs.View(ctx, id, func(m *engine.Machine, s *engine.State) error {
		for _, names := range [][]string{req.From, req.Only} {
			for _, name := range names {
				if _, err := taskNumber(m, s, name); err != nil {
					return err
				}
			}
		}
		def, source = m.Definition(), s.Input // neither ever changes
		return nil
	})
	if err != nil {
		return err
	}
	out := scheduler.Rerun{
		ID: newRunID(), Source: id, Selection: engine.Selection{From: req.From, Only: req.Only},
		IdempotencyKey: req.Key, By: h.by(r, req.By), Reason: req.Reason, Namespaces: h.heldTo(def),
	}
	if out.Params, out.Given, err = RerunParams(def, &source, out.ID, &req); err != nil {
		return err
	}
	made, err := h.Runs.Rerun(ctx, out)
	if err != nil {
		return err
	}
	return h.stands(ctx, w, r, made)
}

// onlyOnce refuses a param that is given in both ways.
func onlyOnce(params map[string]json.RawMessage, texts map[string]string) error {
	for name := range texts {
		if _, both := params[name]; both {
			return badRequest("param %s is given twice: in params and in param_texts", name)
		}
	}
	return nil
}

func newRunID() workflow.RunID {
	var random [6]byte
	// Read never fails: the runtime ends the process instead.
	_, _ = rand.Read(random[:])
	return workflow.NewRunID(time.Now(), random)
}

// RerunParams are the params of the source with those of the request over them. Defaults are evaluated anew, as of the
// source's schedule: they may read what was given now.
func RerunParams(
	def *workflow.Definition, source *engine.Input, id workflow.RunID, req *api.RerunRequest,
) (values map[string]workflow.Value, names []string, err error) {
	given := map[string]hcl.Given{}
	for i := range def.Params {
		p := &def.Params[i]
		if v, ok := source.Params[p.Name]; ok && (p.Required || slices.Contains(source.Given, p.Name)) {
			given[p.Name] = hcl.Given{JSON: json.RawMessage(cmp.Or(string(v.JSON), "null")), Sensitive: v.Sensitive}
		}
	}
	give(given, req.Params, req.ParamTexts)
	values, diags := hcl.Params(def, given, workflow.RunValues{
		ID: string(id), Workflow: def.Name, Version: def.Hash, Namespace: source.Namespace, Trigger: source.Trigger,
		ScheduledAt: source.ScheduledAt, StartedAt: workflow.At(time.Now()),
	})
	if diags.HasErrors() {
		return nil, nil, invalid("the params are not what the workflow takes", diags)
	}
	return values, namesOf(def, given), nil
}

// give adds the params of a request to those given.
func give(given map[string]hcl.Given, params map[string]json.RawMessage, texts map[string]string) {
	for name, v := range params {
		given[name] = hcl.Given{JSON: v}
	}
	for name, text := range texts {
		given[name] = hcl.Given{Text: text}
	}
}

// namesOf lists the params that were given, in the order of their declaration.
func namesOf(def *workflow.Definition, given map[string]hcl.Given) (names []string) {
	for i := range def.Params {
		if _, ok := given[def.Params[i].Name]; ok {
			names = append(names, def.Params[i].Name)
		}
	}
	return names
}

// invalid refuses a submission for what is wrong in its files, or for what its definition says about its params.
func invalid(what string, diags hcl.Diagnostics) error {
	out := &api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalid, Message: what}
	for _, d := range diags {
		out.Diagnostics = append(out.Diagnostics, api.Diagnostic{
			Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, File: d.Range.File, Line: d.Range.Line, Column: d.Range.Column,
		})
	}
	return out
}
