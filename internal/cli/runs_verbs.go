// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

func runsStopCommand(a *App) *command {
	return verbCommand(a, api.VerbStop, "Stop a run: cancel what runs, then run finally tasks",
		`Cancels what runs (a signal, then a kill after the task's kill_timeout), starts nothing new, runs the
finally tasks, and lets the run end as cancelled. If nobody drives the run, this process does until it
has ended.`)
}

func runsTerminateCommand(a *App) *command {
	return verbCommand(a, api.VerbTerminate, "End a run without its finally tasks",
		`Cancels what runs, finally tasks too, starts nothing new, and lets the run end as cancelled. If nobody
drives the run, this process does until it has ended.`)
}

func runsPauseCommand(a *App) *command {
	return verbCommand(a, api.VerbPause, "Start nothing new in a run until it is resumed",
		`What runs goes on to its end; nothing new is started, no retry and no finally task either, until
"cairn runs resume". The run's own timeout stands still meanwhile.`)
}

func runsResumeCommand(a *App) *command {
	return verbCommand(a, api.VerbResume, "Let a paused run go on",
		`Lets a paused run start tasks again. A run whose process has ended is another matter: "cairn run
-resume ID" goes on with that.`)
}

// verbCommand is a command that uses one verb on one run.
func verbCommand(a *App, verb api.Verb, synopsis, about string) *command {
	var reason string
	var asJSON bool
	return &command{
		synopsis:  synopsis,
		arguments: "ID",
		min:       1,
		max:       1,
		about:     about,
		options: []option{
			textOption(&reason, "reason", "TEXT", "Why, for whoever looks at the run later."),
			switchOption(&asJSON, "json", "Print how the run stands then, as JSON."),
		},
		predict: a.predictRuns(),
		run: func(args []string) int {
			return a.useVerb(args[0], verb, api.VerbRequest{By: a.user(), Reason: reason}, asJSON)
		},
	}
}

// useVerb uses a verb on a run, through the process that drives it.
func (a *App) useVerb(id string, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	r, full, code := a.open(id)
	if r == nil {
		return code
	}
	defer r.Close()
	if r.PID == 0 {
		run, err := r.Run(context.Background(), string(full))
		switch {
		case err != nil:
			return a.broken(err)
		case !run.Terminal():
			return a.undriven(r.Kind, run, verb, req, asJSON)
		}
		// It is over: the answer to the verb says so in the same words as everywhere.
	}
	entry, err := r.Verb(context.Background(), string(full), verb, req)
	if err != nil {
		return a.broken(err)
	}
	if asJSON {
		a.printJSON(entry)
		return exitOK
	}
	a.print(fmt.Sprintf("Run %s is %s.\n", entry.ID, because(entry.Status, entry.Reason)))
	return exitOK
}

// undriven uses a verb on a run that no process drives: this one does, until the run has ended.
func (a *App) undriven(kind server.Kind, run *api.Run, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	if verb != api.VerbStop && verb != api.VerbTerminate {
		a.errorf("Nobody drives run %s, so nothing of it starts anyway. Go on with it: cairn run -%s -resume %s", run.ID, kind, run.ID)
		return exitFailed
	}
	cfg, err := a.serverConfig()
	if err != nil {
		return a.broken(err)
	}
	a.say("Nobody drives run %s: this process does until it has ended.", run.ID)
	session, err := server.Resume(context.Background(), cfg, workflow.RunID(run.ID), kind)
	f := &runFlags{json: asJSON}
	if err != nil {
		return a.startFailed(cfg, f, err)
	}
	if _, err := session.Client().Verb(context.Background(), run.ID, verb, req); err != nil {
		a.errorf("%s", sentence(err))
	}
	if code := a.drive(session, f, run); code != exitCancelled {
		return code
	}
	return exitOK // what was asked for
}
