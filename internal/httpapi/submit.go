// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"context"
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
	namespaces, err := h.maySubmit(r, def)
	if err != nil {
		return err
	}
	now := workflow.At(time.Now())
	sub := scheduler.Submission{
		ID: newRunID(), Definition: def, Labels: def.Labels, Namespace: def.Namespace, Namespaces: namespaces, IdempotencyKey: req.Key,
		By: h.by(r, req.By), ScheduledAt: now,
	}
	given := map[string]hcl.Given{}
	give(given, req.Params, req.ParamTexts)
	sub.Given = namesOf(def, given)
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
