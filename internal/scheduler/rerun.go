// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Rerun asks for a new run of the definition of a run that is over.
type Rerun struct {
	ID             workflow.RunID
	Source         workflow.RunID
	Selection      engine.Selection
	Params         map[string]workflow.Value
	Given          []string
	IdempotencyKey string
	By, Reason     string
}

// Rerun starts a new run of the definition of a run that is over.
func (s *Scheduler) Rerun(context.Context, Rerun) (workflow.RunID, error) {
	return "", errors.New("not built")
}
