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
	for name := range req.ParamTexts {
		if _, both := req.Params[name]; both {
			return badRequest("param %s is given twice: in params and in param_texts", name)
		}
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
		IdempotencyKey: req.Key, By: req.By, Reason: req.Reason,
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
	for name, v := range req.Params {
		given[name] = hcl.Given{JSON: v}
	}
	for name, text := range req.ParamTexts {
		given[name] = hcl.Given{Text: text}
	}
	values, diags := hcl.Params(def, given, workflow.RunValues{
		ID: string(id), Workflow: def.Name, Version: def.Hash, Namespace: source.Namespace, Trigger: source.Trigger,
		ScheduledAt: source.ScheduledAt, StartedAt: workflow.At(time.Now()),
	})
	if diags.HasErrors() {
		return nil, nil, invalid(diags)
	}
	for i := range def.Params {
		if _, ok := given[def.Params[i].Name]; ok {
			names = append(names, def.Params[i].Name)
		}
	}
	return values, names, nil
}

// invalid refuses a submission for what its definition says about it.
func invalid(diags hcl.Diagnostics) error {
	out := &api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalid, Message: "the params are not what the workflow takes"}
	for _, d := range diags {
		out.Diagnostics = append(out.Diagnostics, api.Diagnostic{
			Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, File: d.Range.File, Line: d.Range.Line, Column: d.Range.Column,
		})
	}
	return out
}
