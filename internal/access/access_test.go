// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// issuer knows tokens by name, and counts the questions.
type issuer struct {
	mu     sync.Mutex
	asked  map[string]int
	away   bool
	wait   chan struct{} // a question is answered when it can be read; nil: at once
	begun  chan struct{} // gets something with every question; may be nil
	rights map[string]bool
}

func (i *issuer) count(what string) error {
	i.mu.Lock()
	i.asked[what]++
	away := i.away
	i.mu.Unlock()
	if i.begun != nil {
		i.begun <- struct{}{}
	}
	if i.wait != nil {
		<-i.wait
	}
	if away {
		return errors.New("away")
	}
	return nil
}

func (i *issuer) Whose(ctx context.Context, token string) (Caller, error) {
	if err := errors.Join(i.count("whose "+token), ctx.Err()); err != nil {
		return Caller{}, err
	}
	if token == "wrong" {
		return Caller{}, ErrDenied
	}
	return Caller{Name: token + "'s"}, nil
}

func (i *issuer) May(_ context.Context, token string, right Right, namespace string) (bool, error) {
	what := fmt.Sprintf("%s %s %s", token, right, namespace)
	err := i.count(what)
	return i.rights[what], err
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newIssuer() *issuer {
	return &issuer{asked: map[string]int{}, rights: map[string]bool{"a run team": true}}
}

func TestAnswersAreRememberedForAWhile(t *testing.T) {
	i, at := newIssuer(), &clock{now: time.Unix(1000, 0)}
	c := NewCache(i, at.read)
	look := func() {
		t.Helper()
		if who, err := c.Whose(t.Context(), "a"); err != nil || who.Label() != "a's" {
			t.Errorf("a is %+v, %v", who, err)
		}
		if _, err := c.Whose(t.Context(), "wrong"); !errors.Is(err, ErrDenied) {
			t.Errorf("the wrong token: %v, want it denied", err)
		}
		for what, want := range map[[3]string]bool{{"a", "run", "team"}: true, {"a", "run", "other"}: false, {"a", "read", "team"}: false, {"b", "run", "team"}: false} {
			if got, err := c.May(t.Context(), what[0], Right(what[1]), what[2]); err != nil || got != want {
				t.Errorf("%v: %v, %v, want %v", what, got, err, want)
			}
		}
	}
	want := func(yes, no int) {
		t.Helper()
		for what, n := range map[string]int{"whose a": yes, "a run team": yes, "whose wrong": no, "a run other": no, "b run team": no} {
			if i.asked[what] != n {
				t.Errorf("%s was asked %d times, want %d", what, i.asked[what], n)
			}
		}
	}
	look()
	look()
	want(1, 1)
	at.move(refusedFor)
	look()
	want(1, 2)
	at.move(knownFor - refusedFor)
	look()
	want(2, 3)
}

func TestThatNobodyAnswersIsNotRemembered(t *testing.T) {
	i := newIssuer()
	c := NewCache(i, nil)
	i.away = true
	for range 2 {
		if _, err := c.Whose(t.Context(), "a"); err == nil || errors.Is(err, ErrDenied) {
			t.Errorf("got %v, want to hear that nobody answers", err)
		}
	}
	i.away = false
	if _, err := c.Whose(t.Context(), "a"); err != nil || i.asked["whose a"] != 3 {
		t.Errorf("%v after %d questions, want an answer to the third", err, i.asked["whose a"])
	}
	i.away = true
	if _, err := c.Whose(t.Context(), "a"); err != nil {
		t.Errorf("what is known is not known any more: %v", err)
	}
}

func TestOneQuestionIsAskedForAllWhoWait(t *testing.T) {
	i := newIssuer()
	i.wait, i.begun = make(chan struct{}), make(chan struct{}, 1)
	c := NewCache(i, nil)
	first, leave := context.WithCancel(t.Context())
	const callers = 20
	answers := make(chan error, callers)
	ask := func(ctx context.Context) {
		_, err := c.Whose(ctx, "a")
		answers <- err
	}
	go ask(first)
	<-i.begun
	for range callers - 2 {
		go ask(t.Context())
	}
	gone, left := context.WithCancel(t.Context())
	left()
	go ask(gone)
	if err := <-answers; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever does not wait got %v", err)
	}
	leave() // whoever asked first is gone; the others still want to know
	close(i.wait)
	for range callers - 1 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if i.asked["whose a"] != 1 {
		t.Errorf("asked %d times", i.asked["whose a"])
	}
}

func TestWhoTriesTokensPushesOutNobody(t *testing.T) {
	i := newIssuer()
	c := NewCache(i, nil)
	may := func(namespace string) {
		if _, err := c.May(t.Context(), "a", Run, namespace); err != nil {
			t.Fatal(err)
		}
	}
	may("team")
	for n := range maxRefused + maxKnown {
		may(fmt.Sprint(n))
	}
	may("team")
	if n := i.asked["a run team"]; n != 1 {
		t.Errorf("asked %d times for what was known", n)
	}
	if n := len(c.refused.answers); n != maxRefused || len(c.refused.order) != n {
		t.Errorf("%d refusals are kept in an order of %d, want %d", n, len(c.refused.order), maxRefused)
	}
}

func TestRegionsStandBeforeNamespaces(t *testing.T) {
	for text, want := range map[string][2]string{"team": {"", "team"}, "eu/team": {"eu", "team"}} {
		if region, name := Split(text); [2]string{region, name} != want {
			t.Errorf("%s is %s and %s, want %v", text, region, name, want)
		}
	}
}
