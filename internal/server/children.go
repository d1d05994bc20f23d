// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"slices"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// childRun compiles what a run_workflow starts from the files of the parent's own definition, and checks its params.
func childRun(parent *workflow.Definition, body workflow.ChildBody, run workflow.RunValues) (scheduler.ChildRun, error) {
	return scheduler.ChildRun{}, errors.New("not built")
}

var _ = slices.Contains[[]string]
var _ = hcl.Params
