// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import "github.com/cairnflow/cairn/internal/api"

func taskCancelCommand(a *App) *command {
	var key, reason string
	var keyed, asJSON bool
	return &command{
		synopsis:  "Cancel one task or instance",
		arguments: "ID TASK",
		min:       2,
		max:       2,
		about: `Cancels a task of a run, or with -key one instance of a fan-out: what runs is killed, nothing of it is
tried again. The rest of the run goes on as its trigger rules say; the run ends failed unless the task
allows failure.`,
		examples: []string{"cairn task cancel 3kq6t2dlxyvm2hd4wq3a extract -key eu"},
		options: []option{
			funcOption("key", "KEY", "The instance of a fan-out. Without it all of them are cancelled.", func(text string) error {
				key, keyed = text, true
				return nil
			}),
			textOption(&reason, "reason", "TEXT", "Why, for whoever looks at the run later."),
			switchOption(&asJSON, "json", "Print how the run stands then, as JSON."),
		},
		predict: a.predictRuns(),
		run: func(args []string) int {
			req := api.VerbRequest{By: a.user(), Reason: reason, Task: args[1]}
			if keyed {
				req.Key = &key
			}
			return a.useVerb(args[0], api.VerbCancel, req, asJSON)
		},
	}
}
