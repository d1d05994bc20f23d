// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
)

func TestElectorChecksBite(t *testing.T) {
	bite(t, ElectorChecks(), func(_ testing.TB, bug string) ElectorGround {
		office := &office{bug: bug, changed: make(chan struct{})}
		return ElectorGround{
			Contend: func() (scheduler.Elector, func(), error) {
				c := &contender{office: office}
				return c, func() {
					if bug != "a crash keeps the office" {
						office.vacate(c)
					}
				}, nil
			},
			Depose: func() error { office.vacate(nil); return nil },
		}
	}, []bitten{
		{"everybody leads", "one of two contenders"},
		{"release does nothing", "a released leadership"},
		{"a crash keeps the office", "a crash of the leader"},
		{"epochs begin anew", "epochs strictly grow"},
		{"a deposed leader may renew", "renewing prolongs"},
		{"release releases whoever leads", "releasing a lost leadership"},
		{"waiting ignores the context", "waiting ends"},
		{"leader names the last one", "leader is empty"},
	})
}

// office is where contenders meet in memory.
type office struct {
	bug string

	// mu guards what follows.
	mu      sync.Mutex
	holder  *contender
	last    *contender
	epoch   uint64
	changed chan struct{}
}

func (o *office) vacate(c *contender) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c == nil || o.holder == c {
		o.holder = nil
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

type contender struct{ office *office }

func (c *contender) Acquire(ctx context.Context) (scheduler.Leadership, error) {
	o := c.office
	for {
		o.mu.Lock()
		if o.holder == nil || o.bug == "everybody leads" {
			o.holder, o.last = c, c
			if o.epoch++; o.bug == "epochs begin anew" {
				o.epoch = 1
			}
			l := scheduler.Leadership{Epoch: o.epoch, TrustedUntil: time.Now().Add(time.Minute)}
			o.mu.Unlock()
			return l, nil
		}
		changed := o.changed
		o.mu.Unlock()
		done := ctx.Done()
		if o.bug == "waiting ignores the context" {
			select {
			case <-changed:
			case <-time.After(4 * time.Second):
			}
			return scheduler.Leadership{}, nil
		}
		select {
		case <-changed:
		case <-done:
			return scheduler.Leadership{}, ctx.Err()
		}
	}
}

func (c *contender) Renew(_ context.Context, l scheduler.Leadership) (scheduler.Leadership, error) {
	o := c.office
	o.mu.Lock()
	defer o.mu.Unlock()
	if (o.holder != c || o.epoch != l.Epoch) && o.bug != "a deposed leader may renew" {
		return l, scheduler.ErrFenced
	}
	l.TrustedUntil = time.Now().Add(time.Minute)
	return l, nil
}

func (c *contender) Release(_ context.Context, l scheduler.Leadership) error {
	switch c.office.bug {
	case "release does nothing":
	case "release releases whoever leads":
		c.office.vacate(nil)
	default:
		c.office.vacate(c)
	}
	return nil
}

func (c *contender) Leader(context.Context) (string, error) {
	o := c.office
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holder != nil || o.bug == "leader names the last one" && o.last != nil {
		return "somebody", nil
	}
	return "", nil
}
