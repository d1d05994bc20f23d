// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import "github.com/cairnflow/cairn/internal/api"

func taskCommand(*App) *command {
	return groupCommand("Act on single tasks of a run", "Commands for one task of a run, or one instance of a fan-out.")
}

// onTask is a command that acts on a task of a run, or on one instance of it.
func onTask(a *App, c command, act func(id string, req api.VerbRequest, asJSON bool) int) *command {
	var v verbFlags
	var instance instanceFlag
	c.arguments, c.min, c.max = "ID TASK", 2, 2
	c.options = append(append([]option{
		instance.option("The instance of a fan-out. Without it the whole task is meant."),
	}, c.options...), v.options()...)
	c.predict = a.predictRunAndTask()
	c.run = func(args []string) int {
		req := v.request(a)
		req.Task, req.Key = args[1], instance.key
		return act(args[0], req, v.json)
	}
	return &c
}

// using acts by a verb and nothing else.
func using(a *App, verb api.Verb) func(string, api.VerbRequest, bool) int {
	return func(id string, req api.VerbRequest, asJSON bool) int { return a.useVerb(id, verb, req, asJSON) }
}

func taskCancelCommand(a *App) *command {
	return onTask(a, command{
		synopsis: "Cancel one task or instance",
		about: `Cancels a task of a run, or with -instance one instance of a fan-out: what runs is killed, nothing of it
is tried again. The rest of the run goes on as its trigger rules say; the run ends failed unless the task
allows failure.`,
		examples: []string{"cairn task cancel -instance eu 3kq6t2dlxyvm2hd4wq3a extract"},
	}, using(a, api.VerbCancel))
}

func taskSkipCommand(a *App) *command {
	return onTask(a, command{
		synopsis: "Let a task count as skipped, by hand",
		about: `Lets a task that has not begun, waits or failed, or with -instance one instance of it, count as skipped:
what depends on it goes on, its outputs are null or their defaults. On a run that is over this is recorded,
and acts when the run is retried.`,
		examples: []string{"cairn task skip -reason 'source is down today' 3kq6t2dlxyvm2hd4wq3a extract"},
	}, using(a, api.VerbSkip))
}

func taskSucceedCommand(a *App) *command {
	var outputs pairs
	return onTask(a, command{
		synopsis: "Let a task count as succeeded, by hand, with outputs",
		about: `Lets a task that has not begun, waits, failed, was cancelled or could not begin, or with -instance one
instance of it, count as succeeded, with the outputs given here. On a run that is over this is recorded,
and acts when the run is retried.`,
		examples: []string{"cairn task succeed -output rows=42 3kq6t2dlxyvm2hd4wq3a extract"},
		options: []option{outputs.option("output", `Give an output of the task. One of type string takes the text as it is, any other an HCL expression.
May be repeated.`)},
	}, func(id string, req api.VerbRequest, asJSON bool) int {
		req.Texts = outputs
		return a.useVerb(id, api.VerbSucceed, req, asJSON)
	})
}

func taskRetryCommand(a *App) *command {
	var v verbFlags
	var plan bool
	return &command{
		synopsis:  "Run a task again, and everything after it",
		arguments: "ID TASK",
		min:       2,
		max:       2,
		about: `Runs a task that failed, was cancelled or could not begin again, and everything downstream of it; those
of its instances that succeeded keep their results. If nobody drives the run, this process does until it
has ended, and exits with the code of "cairn run".`,
		examples: []string{"cairn task retry -plan 3kq6t2dlxyvm2hd4wq3a load", "cairn task retry 3kq6t2dlxyvm2hd4wq3a load"},
		options:  append([]option{switchOption(&plan, "plan", "Only list what would run.")}, v.options()...),
		predict:  a.predictRunAndTask(),
		run: func(args []string) int {
			if plan {
				return a.planRetry(args[0], args[1], v.json)
			}
			req := v.request(a)
			req.Task = args[1]
			return a.useVerb(args[0], api.VerbRetry, req, v.json)
		},
	}
}
