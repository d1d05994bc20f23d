// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// submitRun has a server run a workflow that was compiled here, and follows it.
func (a *App) submitRun(f *runFlags, cfg server.Config, def *workflow.Definition, s source) int {
	given, files, diags := f.params.given()
	s = s.over(files)
	if !diags.HasErrors() {
		// What is wrong is told with the lines of the files here; the server looks again.
		_, found := hcl.Params(def, given, runValues(def, server.NewRunID(a.Now()), workflow.At(a.Now())))
		diags = append(diags, found...)
	}
	if diags.HasErrors() {
		a.report(s, diags, f.json)
		return exitUsage
	}
	a.report(s, diags, false)
	r, err := server.Remote(context.Background(), cfg)
	if err != nil {
		return a.unanswered(err)
	}
	defer r.Close()
	req := api.SubmitRequest{Workflow: def.Name, By: a.user(), Key: a.keyOr(f.key)}
	req.Params, req.ParamTexts = sent(given)
	for _, file := range def.Files {
		req.Files = append(req.Files, api.File{Path: file.Path, Bytes: file.Bytes, Named: file.Named})
	}
	var entry api.RunEntry
	err = a.patiently(func() (err error) {
		entry, err = r.Submit(context.Background(), req)
		return err
	})
	return a.followRemote(r, entry, err, f)
}

// keyOr is the key of a user, or one that nobody else has: then a request can be repeated that has no answer.
func (a *App) keyOr(key string) string {
	if key != "" {
		return key
	}
	return "cli-" + string(server.NewRunID(a.Now()))
}

// remotePatience is how long a request is repeated while servers take over from each other: longer than one call may take.
const remotePatience = 2 * time.Minute

// patiently repeats a request that may be made twice as long as no leader answers it.
func (a *App) patiently(request func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), remotePatience)
	defer cancel()
	for {
		err := request()
		if !away(err) && !said(err, api.CodeNotReady) && !said(err, api.CodeUnknown) || !sleep(ctx, retryDelay) {
			return err
		}
	}
}

// followRemote follows a run that a server has just been asked for.
func (a *App) followRemote(r *server.Reader, entry api.RunEntry, err error, f *runFlags) int {
	var answer *api.Error
	switch {
	case errors.As(err, &answer) && answer.Code == api.CodeInvalid:
		a.reportRemote(answer.Diagnostics, f.json)
		return exitUsage
	case err != nil:
		return a.unanswered(err)
	}
	a.say("Run %s of %s: on the server at %s.", entry.ID, entry.Workflow, r.Where())
	if f.detach {
		if f.json {
			a.printJSON(entry)
		} else {
			a.say("Follow it: cairn runs watch %s", entry.ID)
		}
		return exitOK
	}
	return a.watch(r, f.json, workflow.RunID(entry.ID))
}

// away reports that nobody answers at the moment.
func away(err error) bool {
	var unreachable *client.UnreachableError
	return errors.As(err, &unreachable)
}

// said reports an answer with a code.
func said(err error, code string) bool {
	var answer *api.Error
	return errors.As(err, &answer) && answer.Code == code
}
