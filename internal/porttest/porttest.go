// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package porttest holds one conformance suite for each port of the scheduler. An adapter that passes its suite may be put
// under the scheduler; the suites say in checks what the comments of the ports say in words.
//
// A suite is a list of named checks that return an error, so that its own tests can show every check failing on an adapter
// that is broken on purpose. Each check gets fresh ground from a factory, and a Restart that makes a new adapter on the
// same ground, as after kill -9 of the process.
package porttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Patience bounds one check. It is generous: it ends hanging checks and measures nothing.
const Patience = 2 * time.Minute

// Check is one rule of a port.
type Check[G any] struct {
	Name string // a sentence
	Run  func(ctx context.Context, ground G) error
}

func run[G any](t *testing.T, checks []Check[G], factory func(t testing.TB) G) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), Patience)
			defer cancel()
			if err := c.Run(ctx, factory(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// runID makes a valid run ID from a small number; later numbers sort later.
func runID(n int) workflow.RunID {
	return workflow.NewRunID(time.UnixMilli(1_700_000_000_000+int64(n)), [6]byte{byte(n >> 8), byte(n)})
}

// until asks cond every 5 ms until it holds or ctx ends.
func until(ctx context.Context, what string, cond func() (bool, error)) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		ok, err := cond()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-t.C:
		}
	}
}
