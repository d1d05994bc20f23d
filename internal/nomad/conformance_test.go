// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestAgentConformance(t *testing.T) {
	t.Parallel()
	porttest.Executor(t, func(tb testing.TB) porttest.ExecutorGround {
		cfg := DefaultConfig()
		cfg.Address = cluster.Nomad(tb).Address()
		cfg.Cluster = newUUID()
		restart := func() (scheduler.Executor, error) { return New(cfg) }
		exec, err := restart()
		if err != nil {
			tb.Fatal(err)
		}
		return porttest.ExecutorGround{Executor: exec, Restart: restart, Dir: tb.TempDir()}
	})
}
