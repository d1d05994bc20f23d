// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff paces the repetition of a call that failed: the delay doubles from Base to Max, and each one is drawn between
// half of it and all of it, so that callers that failed together do not come back together.
type Backoff struct {
	Base, Max time.Duration
}

// Validate says what is out of range.
func (b Backoff) Validate() error {
	if b.Base <= 0 || b.Max < b.Base {
		return fmt.Errorf("backoff from %s to %s: want a positive delay and a maximum not below it", b.Base, b.Max)
	}
	return nil
}

// Delay is the pause after the nth failure in a row, n counting from 1.
func (b Backoff) Delay(n int) time.Duration {
	d := b.Base
	for ; n > 1 && d < b.Max; n-- {
		d *= 2
	}
	d = min(d, b.Max)
	return d/2 + rand.N(d/2+1)
}

// Wait pauses after the nth failure in a row, or until ctx ends, whose error it returns then.
func (b Backoff) Wait(ctx context.Context, n int) error {
	t := time.NewTimer(b.Delay(n))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
