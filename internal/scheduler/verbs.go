// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"fmt"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Verb uses a verb on a run and returns when its effect is saved. One that does not fit, or is repeated, changes nothing:
// what fits is for the caller to say. ErrNotFound: no such run; ErrConflict: it is over. Verb waits, as long as ctx lasts,
// until this process leads.
func (s *Scheduler) Verb(ctx context.Context, id workflow.RunID, verb engine.Event) error {
	for {
		t, err := s.leading(ctx)
		if err != nil {
			return fmt.Errorf("%s run %s: %w", verb.Kind, id, err)
		}
		r := t.run(id)
		if r == nil {
			return s.View(ctx, id, func(_ *engine.Machine, state *engine.State) error {
				return fmt.Errorf("%s run %s, which is %s: %w", verb.Kind, id, state.Head.Status, ErrConflict)
			})
		}
		reply := make(chan error, 1)
		if !r.send(ctx, message{event: verb, reply: reply}) {
			if ctx.Err() != nil {
				return fmt.Errorf("%s run %s: %w", verb.Kind, id, ctx.Err())
			}
			continue // it has just left
		}
		select {
		case err := <-reply:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s run %s: %w", verb.Kind, id, ctx.Err())
		case <-r.over:
			select {
			case err := <-reply:
				return err
			default: // it left before it read the message
			}
		}
	}
}
