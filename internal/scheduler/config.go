// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Config is everything a Scheduler is made of. Store, Executor, Elector and Evaluators have no default.
type Config struct {
	Store    Store
	Executor Executor
	Elector  Elector
	// Catalog keeps the registered workflows; nil = this process has none, and is not asked for any.
	Catalog Catalog
	// Evaluators makes the evaluator of a definition; it is called once for each definition in use.
	Evaluators func(*workflow.Definition) (engine.Evaluator, error)
	// Children compiles what a run_workflow of parent starts, and checks its params. run is what is known of the child run;
	// Workflow and Version are not. An error refuses it for good, and its text is what people read. nil = runs start no
	// others.
	Children func(parent *workflow.Definition, body workflow.ChildBody, run workflow.RunValues) (ChildRun, error)
	// Caller makes the calls of http tasks; nil = they are refused.
	Caller Caller
	// Housekeeping lets runs that are over leave the store; nil = they stay.
	Housekeeping *Housekeeping
	Logger       hclog.Logger

	// MaxInflight bounds the attempts that are with the executor at once, over all runs.
	MaxInflight int
	// MaxCalls bounds the calls to Executor.Start, Kill and Settle that are under way at once.
	MaxCalls int
	// Linger is how long news that decide nothing (accepted, held, started) may wait for the next save. Their executor
	// repeats them after a crash.
	Linger time.Duration
	// CallTimeout bounds every single call to a port that should return at once.
	CallTimeout time.Duration
	// Backoff paces the repetition of whatever failed: saves, loads, starts, kills, the watch.
	Backoff Backoff

	// Now is the wall clock, and Random draws the jitter of retries, uniform in [0, 1). Tests replace them.
	Now    func() time.Time
	Random func() float64
	// Saved is told of every save, and how long it took; nil = nobody wants to know.
	Saved func(took time.Duration, err error)
	// Fault is called at every point between deciding, saving and acting (FaultPoints, HousekeepingFaultPoints); nil outside
	// tests.
	Fault func(point string)
}

// DefaultConfig returns the defaults of everything that has one.
func DefaultConfig() Config {
	return Config{
		Logger:      hclog.NewNullLogger(),
		MaxInflight: 1000,
		MaxCalls:    16, // Nomad allows 100 connections from one address, and 16 registrations keep one server busy
		Linger:      100 * time.Millisecond,
		CallTimeout: 10 * time.Second,
		Backoff:     Backoff{Base: 250 * time.Millisecond, Max: 30 * time.Second},
		Now:         time.Now,
		Random:      rand.Float64,
	}
}

// Validate says what is missing or out of range.
func (c *Config) Validate() error {
	switch {
	case c.Store == nil || c.Executor == nil || c.Elector == nil || c.Evaluators == nil:
		return errors.New("scheduler needs a store, an executor, an elector and evaluators")
	case c.Logger == nil || c.Now == nil || c.Random == nil:
		return errors.New("scheduler needs a logger, a clock and a source of chance: start from DefaultConfig")
	case c.MaxInflight < 1:
		return fmt.Errorf("max_inflight is %d, at least 1 is needed", c.MaxInflight)
	case c.MaxCalls < 1:
		return fmt.Errorf("at most %d calls at once, at least 1 is needed", c.MaxCalls)
	case c.Linger < 0 || c.CallTimeout <= 0:
		return fmt.Errorf("linger %s and call timeout %s must not be negative", c.Linger, c.CallTimeout)
	}
	if c.Housekeeping != nil {
		if err := c.Housekeeping.validate(); err != nil {
			return err
		}
	}
	return c.Backoff.Validate()
}

// The fault points, in the order in which one task meets them.
const (
	FaultBeforeCreate = "before create"
	FaultAfterCreate  = "after create"
	FaultBeforeSave   = "before save"
	FaultAfterSave    = "after save" // saved, nothing of it acted upon
	FaultMidway       = "midway"     // after each command that was handed out
	FaultBeforeStart  = "before start"
	FaultAfterStart   = "after start"
	FaultBeforeKill   = "before kill"
	FaultAfterKill    = "after kill"
	FaultBeforeSettle = "before settle"
	FaultAfterSettle  = "after settle"
	FaultBeforeChild  = "before child" // its parent's attempt is saved
	FaultAfterChild   = "after child"  // stored, and its parent does not know
)

// FaultPoints lists every point that Config.Fault is called at while runs are driven.
func FaultPoints() []string {
	return []string{
		FaultBeforeCreate, FaultAfterCreate, FaultBeforeSave, FaultAfterSave, FaultMidway, FaultBeforeStart, FaultAfterStart,
		FaultBeforeKill, FaultAfterKill, FaultBeforeSettle, FaultAfterSettle, FaultBeforeChild, FaultAfterChild,
	}
}

// The fault points of housekeeping, in the order in which a run that leaves the store meets them.
const (
	FaultBeforeArchive = "before archive"
	FaultAfterArchive  = "after archive" // and read back; the store has the run as well
	FaultAfterLeave    = "after leave"
)

// HousekeepingFaultPoints lists every point that Config.Fault is called at when a run leaves the store.
func HousekeepingFaultPoints() []string {
	return []string{FaultBeforeArchive, FaultAfterArchive, FaultAfterLeave}
}

func (c *Config) fault(point string) {
	if c.Fault != nil {
		c.Fault(point)
	}
}
