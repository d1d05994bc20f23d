// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"io"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// Logs implements scheduler.Executor.
func (e *Executor) Logs(ctx context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	return nil, scheduler.ErrNotFound
}
