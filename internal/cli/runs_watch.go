// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"

	"github.com/cairnflow/cairn/internal/client"
)

func runsWatchCommand(a *App) *command {
	var asJSON bool
	var q client.EventsQuery
	c := &command{
		synopsis:  "Follow a run that another process drives, or everything",
		arguments: "[ID]",
		max:       1,
		about: `Follows a run to its end, as "cairn run" does. Ctrl-C ends the following, not the run.

Without an ID it prints what happens to all runs of the server that CAIRN_ADDR names, from now on until Ctrl-C: one
line for each new status of a run or of a task. It goes on over changes of the leader, and says where it may have
missed something.

Exit codes: those of "cairn run"; without an ID 0, or 4 when no server answers any more.`,
		examples: []string{"cairn runs watch", "cairn runs watch -json -workflow nightly_orders"},
		options: []option{
			switchOption(&asJSON, "json", `Print the run document on standard output when the run has ended; without an ID, each
event on a line of its own.`),
			textOption(&q.Workflow, "workflow", "NAME", "Without an ID: only runs of this workflow."),
			textOption(&q.Namespace, "namespace", "NAME", "Without an ID: only runs in this namespace of Cairn."),
		},
		predict: a.predictRuns(),
	}
	c.run = func(args []string) int {
		switch {
		case len(args) == 0:
			return a.watchAll(q, asJSON)
		case q != client.EventsQuery{}:
			return c.usageError("-workflow and -namespace are for watching without an ID")
		}
		return a.watchRun(args[0], asJSON)
	}
	return c
}

func (a *App) watchRun(text string, asJSON bool) int {
	r, id, _ := a.open(text)
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
}
