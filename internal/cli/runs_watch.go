// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import "context"

func runsWatchCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis:  "Follow a run that another process drives",
		arguments: "ID",
		min:       1,
		max:       1,
		about: `Follows a run to its end, as "cairn run" does. Ctrl-C ends the following, not the run.

Exit codes: those of "cairn run".`,
		options: []option{switchOption(&asJSON, "json", "Print the run document on standard output when the run has ended.")},
		predict: a.predictRuns(),
		run: func(args []string) int {
			r, id, _ := a.open(args[0])
			if r == nil {
				return exitUsage
			}
			defer r.Close()
			run, err := r.Run(context.Background(), string(id))
			switch {
			case err != nil:
				return a.refuse(err)
			case run.Terminal():
				return a.conclude(r.Client, run, asJSON)
			case r.PID == 0:
				a.errorf("Nobody drives run %s: there is nothing to watch. Go on with it: cairn run -%s -resume %s", id, r.Kind, id)
				return exitUsage
			}
			return a.watch(r, asJSON, id)
		},
	}
}
