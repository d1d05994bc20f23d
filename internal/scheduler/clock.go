// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/workflow"
)

// A step of the wall clock below a minute is the daily work of NTP (semantics, "Size, clocks, order").
const loggedClockStep = time.Minute

// clock is the time of one leadership: it begins with the wall clock and goes on with the monotonic one, so that a step of
// the wall clock neither fires timeouts nor stops them.
type clock struct {
	wall  func() time.Time
	log   hclog.Logger
	first time.Time // wall clock at the start
	began time.Time // monotonic

	mu   sync.Mutex
	step time.Duration // guarded by mu: wall clock ahead of ours, as last logged
}

func newClock(wall func() time.Time, log hclog.Logger) *clock {
	return &clock{wall: wall, log: log, first: wall(), began: time.Now()}
}

func (c *clock) now() workflow.Time {
	return workflow.At(c.first.Add(time.Since(c.began)))
}

// check logs when the wall clock has stepped away since the last look.
func (c *clock) check() {
	step := c.wall().Round(0).Sub(c.first.Add(time.Since(c.began)).Round(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := step - c.step; d > loggedClockStep || d < -loggedClockStep {
		c.log.Warn("the wall clock has stepped; times of runs go on without the step until the next leadership", "step", d.String())
		c.step = step
	}
}
