// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// ElectorGround is a place where contenders meet.
type ElectorGround struct {
	// Contend returns a new contender, as another process would be. crash takes everything away from it at once, as kill -9
	// of its process does (a session may then have to expire); the contender is not used afterwards.
	Contend func() (e scheduler.Elector, crash func(), err error)
	// Depose takes the leadership away from whoever has it, behind its back, so that another contender can have it.
	Depose func() error
}

// Elector runs the conformance suite of scheduler.Elector.
func Elector(t *testing.T, factory func(t testing.TB) ElectorGround) {
	t.Helper()
	run(t, ElectorChecks(), factory)
}

// ElectorChecks lists the rules of scheduler.Elector.
func ElectorChecks() []Check[ElectorGround] {
	return []Check[ElectorGround]{
		{"one of two contenders leads, the other waits", electorOne},
		{"a released leadership goes to the one that waits", electorHandOver},
		{"a crash of the leader hands over", electorCrash},
		{"epochs strictly grow, over crashes too", electorEpochs},
		{"renewing prolongs, and is fenced after the loss", electorRenews},
		{"releasing a lost leadership does nothing", electorReleaseLost},
		{"waiting ends with the context", electorContext},
		{"leader is empty when nobody leads", electorLeader},
	}
}

func electorPair(g ElectorGround) (a, b scheduler.Elector, crashA func(), err error) {
	a, crashA, errA := g.Contend()
	b, _, errB := g.Contend()
	return a, b, crashA, errors.Join(errA, errB)
}

type acquired struct {
	l   scheduler.Leadership
	err error
}

func acquire(ctx context.Context, e scheduler.Elector) <-chan acquired {
	c := make(chan acquired, 1)
	go func() {
		l, err := e.Acquire(ctx)
		c <- acquired{l, err}
	}()
	return c
}

// quiet is how long a contender is watched for not leading. A wrong one would lead at once.
const quiet = 300 * time.Millisecond

func electorOne(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	l, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	if !l.TrustedUntil.After(time.Now()) {
		return fmt.Errorf("a fresh leadership is trusted until %s, in the past", l.TrustedUntil)
	}
	short, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	if l2, err := b.Acquire(short); err == nil {
		return fmt.Errorf("epochs %d and %d lead at the same time", l.Epoch, l2.Epoch)
	}
	return nil
}

func electorHandOver(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	l, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	second := acquire(ctx, b)
	if err := a.Release(ctx, l); err != nil {
		return err
	}
	got := <-second
	if got.err != nil {
		return got.err
	}
	if got.l.Epoch <= l.Epoch {
		return fmt.Errorf("epoch %d after %d", got.l.Epoch, l.Epoch)
	}
	_, err = a.Renew(ctx, l)
	return wantErr("renew of a released leadership", err, scheduler.ErrFenced)
}

func electorCrash(ctx context.Context, g ElectorGround) error {
	a, b, crash, err := electorPair(g)
	if err != nil {
		return err
	}
	l, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	second := acquire(ctx, b)
	crash()
	got := <-second
	if got.err == nil && got.l.Epoch <= l.Epoch {
		return fmt.Errorf("epoch %d after %d", got.l.Epoch, l.Epoch)
	}
	return got.err
}

func electorEpochs(ctx context.Context, g ElectorGround) error {
	last := uint64(0)
	for i := range 5 {
		e, crash, err := g.Contend()
		if err != nil {
			return err
		}
		l, err := e.Acquire(ctx)
		if err != nil {
			return err
		}
		if l.Epoch <= last {
			return fmt.Errorf("epoch %d after %d", l.Epoch, last)
		}
		last = l.Epoch
		if i%2 == 0 {
			crash()
			continue
		}
		if err := e.Release(ctx, l); err != nil {
			return err
		}
		if l, err = e.Acquire(ctx); err != nil {
			return err
		}
		if l.Epoch <= last {
			return fmt.Errorf("epoch %d after %d, by the same contender", l.Epoch, last)
		}
		last = l.Epoch
		if err := e.Release(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func electorRenews(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	l, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	renewed, err := a.Renew(ctx, l)
	if err != nil {
		return err
	}
	if renewed.Epoch != l.Epoch || renewed.TrustedUntil.Before(l.TrustedUntil) {
		return fmt.Errorf("renewed %+v to %+v", l, renewed)
	}
	if err := g.Depose(); err != nil {
		return err
	}
	if err := until(ctx, "the deposed leader notices", func() (bool, error) {
		_, err := a.Renew(ctx, renewed)
		if err != nil && !errors.Is(err, scheduler.ErrFenced) {
			return false, err
		}
		return err != nil, nil
	}); err != nil {
		return err
	}
	next, err := b.Acquire(ctx)
	if err != nil {
		return err
	}
	_, err = a.Renew(ctx, renewed)
	if next.Epoch <= l.Epoch {
		return fmt.Errorf("epoch %d after %d", next.Epoch, l.Epoch)
	}
	return wantErr("renew after another one leads", err, scheduler.ErrFenced)
}

func electorReleaseLost(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	lost, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	if err := g.Depose(); err != nil {
		return err
	}
	l, err := b.Acquire(ctx)
	if err != nil {
		return err
	}
	if err := a.Release(ctx, lost); err != nil {
		return err
	}
	if _, err := b.Renew(ctx, l); err != nil {
		return fmt.Errorf("the new leader's renewal after the old one's release: %w", err)
	}
	c, _, err := g.Contend()
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	if _, err := c.Acquire(short); err == nil {
		return errors.New("releasing a lost leadership released its successor's")
	}
	return nil
}

func electorContext(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	if _, err := a.Acquire(ctx); err != nil {
		return err
	}
	short, cancel := context.WithCancel(ctx)
	second := acquire(short, b)
	cancel()
	return wantErr("acquire", (<-second).err, context.Canceled)
}

func electorLeader(ctx context.Context, g ElectorGround) error {
	a, b, _, err := electorPair(g)
	if err != nil {
		return err
	}
	for _, want := range []bool{false, true, false} {
		var l scheduler.Leadership
		if want {
			if l, err = a.Acquire(ctx); err != nil {
				return err
			}
		}
		name, err := b.Leader(ctx)
		if err != nil {
			return err
		}
		if (name != "") != want {
			return fmt.Errorf("leader is %q, somebody leads: %t", name, want)
		}
		if want {
			if err := a.Release(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}
