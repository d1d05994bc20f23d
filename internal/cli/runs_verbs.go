// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
		`Lets a paused run start tasks again. If nobody drives the run, this process does until it has ended,
whether the run was paused or its process has gone away.`)
}

// verbCommand is a command that uses one verb on one run.
func verbCommand(a *App, verb api.Verb, synopsis, about string) *command {
	var v verbFlags
	return &command{
		synopsis:  synopsis,
		arguments: "ID",
		min:       1,
		max:       1,
		about:     about,
		options:   v.options(),
		predict:   a.predictRuns(),
		run:       func(args []string) int { return a.useVerb(args[0], verb, v.request(a), v.json) },
	}
}

// verbFlags are what every verb takes.
type verbFlags struct {
	reason string
	json   bool
}

func (v *verbFlags) options() []option {
	return []option{
		textOption(&v.reason, "reason", "TEXT", "Why, for whoever looks at the run later."),
		switchOption(&v.json, "json", "Print how the run stands then, as JSON."),
	}
}

func (v *verbFlags) request(a *App) api.VerbRequest {
	return api.VerbRequest{By: a.user(), Reason: v.reason}
}

// instanceFlag is the option -instance: absent, or the key of one element of a fan-out.
type instanceFlag struct{ key *string }

func (i *instanceFlag) option(usage string) option {
	return funcOption("instance", "KEY", usage, func(text string) error {
		i.key = &text
		return nil
	})
}

// pairs collects an option that is given as NAME=VALUE, several times.
type pairs map[string]string

func (p *pairs) option(name, usage string) option {
	return funcOption(name, "NAME=VALUE", usage, func(text string) error {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return fmt.Errorf("-%s %s: want NAME=VALUE", name, text)
		}
		if *p == nil {
			*p = pairs{}
		}
		(*p)[k] = v
		return nil
	})
}

// useVerb uses a verb on a run: through the process that drives it, else by driving it until it has ended, if the verb makes
// work.
func (a *App) useVerb(text string, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	r, id, code := a.open(text)
	if r == nil {
		return code
	}
	defer r.Close()
	return a.useVerbOn(r, id, verb, req, asJSON)
}

func (a *App) useVerbOn(r *server.Reader, id workflow.RunID, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	if r.PID == 0 {
		run, err := r.Run(context.Background(), string(id))
		switch {
		case err != nil:
			return a.broken(err)
		case run.Terminal():
			// Whether the verb fits is for the answer to say.
		case verb == api.VerbPause:
			a.errorf("Nobody drives run %s, so nothing of it starts anyway. Go on with it: cairn run -%s -resume %s", id, r.Kind, id)
			return exitFailed
		case verb == api.VerbResume:
			return a.takeUp(r.Kind, run, verb, req, asJSON) // driving it is what is asked for, paused or not
		}
		var said *api.Error
		entry, err := r.Verb(context.Background(), string(id), verb, req)
		if errors.As(err, &said) && said.Code == api.CodeNotDriven {
			return a.takeUp(r.Kind, run, verb, req, asJSON)
		}
		return a.answer(entry, err, asJSON)
	}
	if r.Kind != "" {
		entry, err := r.Verb(context.Background(), string(id), verb, req)
		return a.answer(entry, err, asJSON)
	}
	if verb == api.VerbRetry {
		// Without the number of the retry a second one would begin anew.
		run, err := r.Run(context.Background(), string(id))
		if err != nil {
			return a.broken(err)
		}
		req.Generation = run.Generation + 1
	}
	var entry api.RunEntry
	err := a.patiently(func() (err error) { // what is done already is not done again
		entry, err = r.Verb(context.Background(), string(id), verb, req)
		return err
	})
	return a.answer(entry, err, asJSON)
}

// answer prints what a verb came to.
func (a *App) answer(entry api.RunEntry, err error, asJSON bool) int {
	switch {
	case err != nil:
		return a.broken(err)
	case asJSON:
		a.printJSON(entry)
	default:
		a.print(fmt.Sprintf("Run %s is %s.\n", entry.ID, because(entry.Status, entry.Reason)))
	}
	return exitOK
}

// takeUp uses a verb on a run that no process drives, and drives it until it has ended.
func (a *App) takeUp(kind server.Kind, run *api.Run, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	cfg, err := a.serverConfig()
	if err != nil {
		return a.broken(err)
	}
	f := &runFlags{json: asJSON}
	session, err := server.TakeUp(context.Background(), cfg, workflow.RunID(run.ID), kind)
	if err != nil {
		return a.startFailed(cfg, f, err)
	}
	// A child run is driven with its parent, which is what is followed then.
	before, err := session.Client().Run(context.Background(), string(session.Run))
	if err != nil {
		return max(a.broken(err), a.closed(session))
	}
	entry, err := session.Client().Verb(context.Background(), run.ID, verb, req)
	var said *api.Error
	switch {
	case err == nil && api.RunOver(entry.Status): // recorded for the next retry
		if err := session.Close(); err != nil {
			return a.broken(err)
		}
		if code := a.answer(entry, nil, asJSON); code != exitOK {
			return code
		}
		a.say("It is recorded, and acts when the run is retried: cairn runs retry %s", run.ID)
		return exitOK
	case errors.As(err, &said) && said.Code == api.CodeConflict && verb == api.VerbResume: // it is not paused
	case err != nil:
		return max(a.broken(err), a.closed(session))
	}
	a.say("Nobody drives run %s: this process does until it has ended.", run.ID)
	code := a.drive(session, f, before)
	if code == exitCancelled && (verb == api.VerbStop || verb == api.VerbTerminate) {
		return exitOK // what was asked for
	}
	return code
}

// closed ends a session that is not followed.
func (a *App) closed(s *server.Session) int {
	if err := s.Close(); err != nil {
		return a.broken(err)
	}
	return exitOK
}
