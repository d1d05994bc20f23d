// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"testing"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestExecutorConforms(t *testing.T) {
	porttest.Executor(t, func(t testing.TB) porttest.ExecutorGround {
		dir := t.TempDir()
		e := openExecutor(t, dir)
		return porttest.ExecutorGround{Executor: e, Dir: t.TempDir(), Restart: func() (scheduler.Executor, error) {
			if err := e.Close(); err != nil { // all that a crash would take from the supervisor's sight: the connection
				return nil, err
			}
			e = openExecutor(t, dir)
			return e, nil
		}}
	})
}
