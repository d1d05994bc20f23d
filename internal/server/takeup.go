// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/workflow"
)

// TakeUp is a stand-in.
func TakeUp(ctx context.Context, cfg Config, id workflow.RunID, kind Kind) (*Session, error) {
	return resume(ctx, cfg, id, kind, true)
}

// Rerun is a stand-in.
func Rerun(context.Context, Config, workflow.RunID, api.RerunRequest) (*Session, error) {
	return nil, errors.New("not built")
}
