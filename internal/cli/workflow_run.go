// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
)

func workflowRunCommand(a *App) *command {
	f := &runFlags{}
	version, namespace := 0, ""
	paramOptions := f.params.options(a)
	paramOptions[0] = predicted(paramOptions[0], a.predictRegisteredParams())
	return &command{
		synopsis:  "Run a registered workflow and follow it to its end",
		arguments: "NAME",
		min:       1,
		max:       1,
		about: `Starts a run of a registered workflow at the server and follows it to its end, as "cairn run" does.
Ctrl-C leaves the run, which goes on.

Exit codes: 0 the run succeeded, 1 it failed, 2 nothing was run: there is no such workflow, or its params
are not what it takes, 3 the run was cancelled, 4 the server cannot be reached, 5 the run was skipped, 6
it was left before its end, or it succeeded and standard output could not be written.`,
		examples: []string{"cairn workflow run etl -param day=2026-01-31", "cairn workflow run -detach -version 3 etl"},
		options: append(paramOptions,
			namespaceOption(&namespace),
			versionOption(&version, "Run this version instead of the newest."),
			f.keyOption(),
			switchOption(&f.json, "json", "Print the run document on standard output when the run has ended, and everything else on standard error."),
			switchOption(&f.detach, "detach", "Return once the run is started."),
		),
		predict: a.predictRegistered(),
		run:     func(args []string) int { return a.runRegistered(f, namespace, args[0], version) },
	}
}

// runRegistered starts a run of a registered workflow and follows it.
func (a *App) runRegistered(f *runFlags, namespace, name string, version int) int {
	given, s, diags := f.params.given()
	if diags.HasErrors() {
		a.report(s, diags, f.json)
		return exitUsage
	}
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	req := api.RunWorkflowRequest{Version: version, By: a.user(), Key: a.keyOr(f.key)}
	req.Params, req.ParamTexts = sent(given)
	var entry api.RunEntry
	err := a.patiently(func() (err error) {
		entry, err = r.RunWorkflow(context.Background(), namespace, name, req)
		return err
	})
	if said(err, api.CodeNotFound) || said(err, api.CodeBadRequest) || said(err, api.CodeTooLarge) {
		return a.refuse(err)
	}
	return a.followRemote(r, entry, err, f)
}

// keyOption is the idempotency key of a run.
func (f *runFlags) keyOption() option {
	return funcOption("key", "KEY", `Start only one run for this key: a second call with the same key and the same params follows the first
one's run, with other params it is refused.`, func(text string) error {
		if text == "" {
			return errors.New("-key is empty: give it a text, or leave it away to start a run in any case")
		}
		f.key = text
		return nil
	})
}

// sent are given params as a request carries them.
func sent(given map[string]hcl.Given) (params map[string]json.RawMessage, texts map[string]string) {
	params, texts = map[string]json.RawMessage{}, map[string]string{}
	for name, v := range given {
		if v.JSON != nil {
			params[name] = v.JSON
		} else {
			texts[name] = v.Text
		}
	}
	return params, texts
}
