// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// submit answers POST /v1/runs: it checks the files and the params once more, starts a run and says how that stands.
func (h *handler) submit(w http.ResponseWriter, r *http.Request) error {
	if err := unknown(r); err != nil {
		return err
	}
	var req api.SubmitRequest
	if err := decodeUpTo(r, MaxBody, "a run", &req); err != nil {
		return err
	}
	if len(req.Files) == 0 {
		return badRequest("files is empty: a run needs the files of its workflow")
	}
	if err := onlyOnce(req.Params, req.ParamTexts); err != nil {
		return err
	}
	files := make([]workflow.File, len(req.Files))
	for i, f := range req.Files {
		files[i] = workflow.File{Path: f.Path, Bytes: f.Bytes, Named: f.Named}
	}
	def, _, diags := hcl.CompileAndOpen(files, req.Workflow)
	if names := hcl.Workflows(files); diags.HasErrors() && req.Workflow == "" && len(names) > 1 {
		return badRequest("the files declare %s: name one of them in workflow", strings.Join(names, ", "))
	}
	if diags.HasErrors() {
		return invalid("the files have problems", diags)
	}
	return h.start(w, r, def, order{params: req.Params, texts: req.ParamTexts, key: req.Key, by: req.By})
}

// order is what a run of a definition is asked for with.
type order struct {
	params map[string]json.RawMessage
	texts  map[string]string
	key    string
	by     string
}

// start starts a run of a definition, if whoever asks may, and says how that stands.
func (h *handler) start(w http.ResponseWriter, r *http.Request, def *workflow.Definition, o order) error {
	namespaces, err := h.maySubmit(r, def)
	if err != nil {
		return err
	}
	now := workflow.At(time.Now())
	sub := scheduler.Submission{
		ID: newRunID(), Definition: def, Labels: def.Labels, Namespace: def.Namespace, Namespaces: namespaces, IdempotencyKey: o.key,
		By: h.by(r, o.by), ScheduledAt: now,
	}
	given := map[string]hcl.Given{}
	give(given, o.params, o.texts)
	sub.Given = namesOf(def, given)
	var diags hcl.Diagnostics
	if sub.Params, diags = hcl.Params(def, given, workflow.RunValues{
		ID: string(sub.ID), Workflow: def.Name, Version: def.Hash, Namespace: def.Namespace, Trigger: "manual", ScheduledAt: now, StartedAt: now,
	}); diags.HasErrors() {
		return invalid("the params are not what the workflow takes", diags)
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	made, err := h.Runs.Submit(ctx, sub)
	if err != nil {
		return err
	}
	return h.stands(ctx, w, r, made)
}
