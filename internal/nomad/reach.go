// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Answers asks Nomad who leads, which needs no token: an error says why nothing can be asked of it.
func (e *Executor) Answers(ctx context.Context) error {
	var leader string
	err := e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		return e.client.get(ctx, realm{region: e.cfg.Region}, "/v1/status/leader", url.Values{}, &leader, secret)
	})
	if err == nil && leader == "" {
		err = errors.New("it has no leader at the moment")
	}
	return err
}

// Reach tells whoever is about to start a run whether Nomad answers.
func (e *Executor) Reach(ctx context.Context) error {
	if err := e.Answers(ctx); err != nil {
		//lint:ignore ST1005 Nomad is a name
		return fmt.Errorf("Nomad at %s cannot be reached: %w. Nothing was started: start that agent, or set NOMAD_ADDR to the address of one that runs",
			e.cfg.Address, bare(err))
	}
	return nil
}

// shortAbsence is how long Nomad may be away before anybody is told: its restarts and elections are not news.
const shortAbsence = time.Second

// Trouble says for people that Nomad does not answer; empty when it does.
func (e *Executor) Trouble() string {
	since, err := e.client.contact.lost()
	if err == nil || time.Since(since) < shortAbsence {
		return ""
	}
	return fmt.Sprintf("Nomad at %s cannot be reached since %s: %s. What runs goes on, and nothing new starts until it answers",
		e.cfg.Address, since.Format(time.TimeOnly), bare(err))
}

// contact passes requests on and notes whether Nomad answers at all; what it answers does not matter.
type contact struct {
	next http.RoundTripper

	mu    sync.Mutex // guards what follows
	since time.Time  // when the first request failed after the last answer
	err   error      // of that request; nil after an answer
}

// RoundTrip implements http.RoundTripper.
func (c *contact) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := c.next.RoundTrip(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.err = nil
	case errors.Is(req.Context().Err(), context.Canceled): // nobody waits for it any more: says nothing of Nomad
	case c.err == nil:
		c.since, c.err = began, err
	}
	return resp, err
}

// CloseIdleConnections is what http.Client.CloseIdleConnections asks a transport for.
func (c *contact) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

func (c *contact) lost() (since time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.err
}

// bare takes the method and address off an error of net/http: the sentence around it says them.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
