// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/internal/client"
)

func workflowDeleteCommand(a *App) *command {
	var namespace string
	var yes, asJSON bool
	return &command{
		synopsis:  "Take a workflow out of the register",
		arguments: "NAME",
		min:       1,
		max:       1,
		about: `Takes a workflow and its versions out of the register, so that nobody can start it by its name any more.
Its runs go on, and stay as they are. In a terminal it is done after a "y".`,
		examples: []string{"cairn workflow delete etl", "cairn workflow delete -yes etl"},
		options: []option{
			namespaceOption(&namespace),
			switchOption(&yes, "yes", "Do not ask. Outside of a terminal, where nobody can be asked, it has to be said."),
			switchOption(&asJSON, "json", "Print what was deleted as JSON."),
		},
		predict: a.predictRegistered(),
		run:     func(args []string) int { return a.deleteWorkflow(namespace, args[0], yes, asJSON) },
	}
}

func (a *App) deleteWorkflow(namespace, name string, yes, asJSON bool) int {
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	if !yes {
		if !a.interactive() {
			a.errorf("Nothing was deleted: this is no terminal, so nobody can be asked. Say -yes if it is meant.")
			return exitUsage
		}
		w, err := r.Workflow(context.Background(), client.WorkflowQuery{Namespace: namespace, Name: name})
		if err != nil {
			return a.denied(err, asJSON)
		}
		text := fmt.Sprintf("Delete workflow %s, version %d, at the server at %s?%s [y/N] ",
			w.Name, w.Version, r.Where(), goOn(w.ActiveRuns))
		if answer := a.question(text); !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
			a.say("Nothing was deleted.")
			return exitUsage
		}
	}
	gone, err := r.DeleteWorkflow(context.Background(), namespace, name)
	switch {
	case err != nil:
		return a.denied(err, asJSON)
	case asJSON:
		a.printJSON(gone)
	default:
		a.say("Workflow %s is deleted; its last version was %d.%s", gone.Name, gone.Version, goOn(gone.ActiveRuns))
	}
	return exitOK
}

// goOn says what becomes of active runs; nothing where there are none.
func goOn(runs int) string {
	switch runs {
	case 0:
		return ""
	case 1:
		return " One run of it is active and goes on."
	}
	return fmt.Sprintf(" %d runs of it are active and go on.", runs)
}
