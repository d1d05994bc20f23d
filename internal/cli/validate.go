// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

func validateCommand(a *App) *command {
	var name string
	var asJSON bool
	return &command{
		synopsis:  "Check a workflow without running it",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Checks the workflow in FILE, which is one .hcl file or a folder of them, and prints everything
that is wrong with it at once. Nothing is started and nothing outside the folder is read.

Exit codes: 0 valid (there may be warnings), 2 invalid.`,
		examples: []string{"cairn validate examples/etl", "cairn validate -json nightly.hcl"},
		options: []option{
			predicted(textOption(&name, "workflow", "NAME", "The workflow to check, where FILE holds several; all of them otherwise."), a.predictWorkflowNames()),
			switchOption(&asJSON, "json", `Print {"diagnostics": […]} on standard output.`),
		},
		predict: predictWorkflow,
		run: func(args []string) int {
			s, diags := load(args[0])
			var defs []*workflow.Definition
			if !diags.HasErrors() {
				var more hcl.Diagnostics
				defs, more = compileAll(s.files, name)
				diags = append(diags, more...)
			}
			a.report(s, diags, asJSON)
			if diags.HasErrors() {
				return exitUsage
			}
			if !asJSON {
				for _, def := range defs {
					a.print(valid(def))
				}
			}
			return exitOK
		},
	}
}

// valid says what a definition holds.
func valid(def *workflow.Definition) string {
	tasks, finally := 0, 0
	for i := range def.Tasks {
		if def.Tasks[i].Kind == workflow.KindFinally {
			finally++
		} else {
			tasks++
		}
	}
	out := "Workflow " + def.Name + " is valid: " + count(tasks, "task")
	if finally > 0 {
		out += " and " + count(finally, "finally task")
	}
	return out + ".\n"
}
