// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"github.com/cairnflow/cairn/internal/local"
	"github.com/cairnflow/cairn/internal/workflow"
)

// CheckBody looks at a task body rendered before the run: what the executor cannot run, each a sentence with the way out,
// and what it ignores. With a refusal nothing should be started. Nomad checks bodies itself, with the first of each task.
func CheckBody(kind Kind, of workflow.BodyKind, body []byte) (refused, ignored []string, err error) {
	if kind != Local {
		return nil, nil, nil
	}
	report, err := local.Check(of, body)
	return report.Refused, report.Ignored, err
}
