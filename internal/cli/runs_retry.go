// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
)

func runsRetryCommand(a *App) *command {
	var v verbFlags
	var plan bool
	return &command{
		synopsis:  "Run again what failed, and everything after it",
		arguments: "ID",
		min:       1,
		max:       1,
		about: `Takes up a run that ended without success: every task or instance that failed, was cancelled or could
not begin runs again, with everything downstream of it and all finally tasks. What succeeded elsewhere
keeps its result. Params stay as they are; "cairn runs rerun -param" starts a new run with others.

If nobody drives the run, this process does until it has ended, and exits with the code of "cairn run".`,
		examples: []string{"cairn runs retry -plan 3kq6t2dlxyvm2hd4wq3a", "cairn runs retry 3kq6t2dlxyvm2hd4wq3a"},
		options: append([]option{
			switchOption(&plan, "plan", "Only list what would run."),
		}, v.options()...),
		predict: a.predictRuns(),
		run: func(args []string) int {
			if plan {
				return a.planRetry(args[0], "", v.json)
			}
			return a.useVerb(args[0], api.VerbRetry, v.request(a), v.json)
		},
	}
}

// planRetry lists what a retry of a run, or of a task, would run.
func (a *App) planRetry(text, task string, asJSON bool) int {
	r, id, code := a.open(text)
	if r == nil {
		return code
	}
	defer r.Close()
	plan, err := r.RetryPlan(context.Background(), string(id), task)
	switch {
	case err != nil:
		return a.broken(err)
	case asJSON:
		a.printJSON(plan)
	default:
		a.print(retryText(string(id), plan))
	}
	return exitOK
}

func retryText(id string, plan api.Plan) string {
	if len(plan.Tasks) == 0 {
		return fmt.Sprintf("A retry of run %s would run nothing.\n", id)
	}
	width := 0
	for _, t := range plan.Tasks {
		width = max(width, utf8.RuneCountInString(t.Name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A retry of run %s would run:\n", id)
	for _, t := range plan.Tasks {
		size := count(t.Instances, "instance")
		if t.Instances == 0 {
			size = "as many instances as it expands to"
		}
		fmt.Fprintf(&b, "  %s  %s\n", pad(t.Name, width), size)
	}
	return b.String()
}
