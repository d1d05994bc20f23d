// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"maps"
	"slices"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// childRun compiles what a run_workflow starts from the files of the parent's own definition, and checks its params.
func childRun(parent *workflow.Definition, body workflow.ChildBody, run workflow.RunValues) (scheduler.ChildRun, error) {
	from, err := hcl.NewEvaluator(parent)
	if err != nil {
		return scheduler.ChildRun{}, err
	}
	def, eval, err := from.Child(body)
	if err != nil {
		return scheduler.ChildRun{}, err
	}
	run.Workflow, run.Version = def.Name, def.Hash
	params, diags := hcl.Params(def, hcl.GivenByParent(body.Params), run)
	for _, d := range diags {
		if d.Severity == hcl.SeverityError {
			return scheduler.ChildRun{}, errors.New(d.String())
		}
	}
	return scheduler.ChildRun{
		Definition: def, Evaluator: eval, Params: params, Given: slices.Sorted(maps.Keys(body.Params)),
	}, nil
}
