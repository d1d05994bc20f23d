// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func runsRerunCommand(a *App) *command {
	var v verbFlags
	var params pairs
	var req api.RerunRequest
	task := func(name, usage string, to *[]string) option {
		o := funcOption(name, "TASK", usage, func(text string) error {
			if text == "" {
				return errors.New("-" + name + " needs the name of a task")
			}
			*to = append(*to, text)
			return nil
		})
		o.predict = a.predictTasksOfRun()
		return o
	}
	return &command{
		synopsis:  "Start a new run of the same definition",
		arguments: "ID",
		min:       1,
		max:       1,
		about: `Starts a new run of the definition of a run that is over, with its params, and follows it to its end.
With -from or -only the other tasks are not run again: they appear as they ended, with their outputs.

This process schedules the run, where the first one ran: on this machine or on Nomad. Exit codes: those of
"cairn run".`,
		examples: []string{
			"cairn runs rerun 3kq6t2dlxyvm2hd4wq3a",
			"cairn runs rerun -from load 3kq6t2dlxyvm2hd4wq3a",
			"cairn runs rerun -param day=2026-01-31 3kq6t2dlxyvm2hd4wq3a",
		},
		options: append([]option{
			task("from", "Run this task and everything downstream of it. May be repeated.", &req.From),
			task("only", "Run this task. May be repeated.", &req.Only),
			params.option("param", `Give a param another value. One of type string takes the text as it is, any other an HCL expression.
May be repeated.`),
			funcOption("key", "KEY", "Start only one run for this key, as with \"cairn run\".", func(text string) error {
				if text == "" {
					return errors.New("-key is empty: give it a text, or leave it away to start a run in any case")
				}
				req.Key = text
				return nil
			}),
		}, v.options()...),
		predict: a.predictRuns(),
		run: func(args []string) int {
			req.By, req.Reason, req.ParamTexts = a.user(), v.reason, params
			return a.rerun(args[0], req, v.json)
		},
	}
}

// rerun starts a new run from an old one and follows it.
func (a *App) rerun(text string, req api.RerunRequest, asJSON bool) int {
	r, id, code := a.open(text)
	if r == nil {
		return code
	}
	cfg, err := a.serverConfig()
	if err != nil {
		r.Close()
		return a.broken(err)
	}
	if cfg.Server.Address != "" {
		defer r.Close()
		req.Key = a.keyOr(req.Key)
		var entry api.RunEntry
		err := a.patiently(func() (err error) {
			entry, err = r.Rerun(context.Background(), string(id), req)
			return err
		})
		return a.followRemote(r, entry, err, &runFlags{json: asJSON})
	}
	r.Close()
	f := &runFlags{json: asJSON, key: req.Key}
	session, err := server.Rerun(context.Background(), cfg, id, req)
	var exists *server.RunExistsError
	var said *api.Error
	switch {
	case errors.As(err, &exists):
		a.say("Key %s has a run already: %s.", req.Key, exists.Run)
		return a.rejoin(cfg, f, exists.Run)
	case errors.As(err, &said) && said.Code == api.CodeInvalid:
		a.reportRemote(said.Diagnostics, asJSON)
		return exitUsage
	case err != nil:
		return a.startFailed(cfg, f, err)
	}
	a.say("%s", where(session, "", cfg))
	return a.drive(session, f, nil)
}
