// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
)

const (
	// nomadLook is how often a server asks whether Nomad answers.
	nomadLook = 5 * time.Second
	// nomadPatience is how long a leader may be without Nomad before it makes way for a server that has it: longer than Nomad's
	// own elections take.
	nomadPatience = 30 * time.Second
	// nomadPause is how long it stands back after that.
	nomadPause = time.Minute
)

// nomadWatch knows whether Nomad answers this server, and has a leader without it make way for a server that has it.
type nomadWatch struct {
	reach    func(context.Context) error
	leading  func() bool
	has      func(context.Context) (server string, err error) // another server that Nomad answers; empty = none
	stepDown func(context.Context) error
	log      hclog.Logger

	mu    sync.Mutex // guards what follows
	err   error      // nil: Nomad answers
	since time.Time  // when it did not for the first time
	until time.Time  // this server does not stand for office before
}

// keep asks Nomad until ctx ends.
func (n *nomadWatch) keep(ctx context.Context) {
	tick := time.NewTicker(nomadLook)
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, nomadLook)
		err := n.reach(ask)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if n.note(err, time.Now()) >= nomadPatience && n.leading() {
			n.makeWay(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// note keeps what asking Nomad gave, and returns for how long it has not answered.
func (n *nomadWatch) note(err error, now time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil && n.err != nil:
		n.log.Info("Nomad answers again", "after", now.Sub(n.since).Round(time.Second))
	case err != nil && n.err == nil:
		n.since = now
		n.log.Warn("Nomad does not answer", "error", err)
	}
	if n.err = err; err == nil {
		return 0
	}
	return now.Sub(n.since)
}

// makeWay gives the leadership up if another server has what this one lacks.
func (n *nomadWatch) makeWay(ctx context.Context) {
	server, err := n.has(ctx)
	switch {
	case err != nil:
		n.log.Warn("whether another server has Nomad is not known", "error", err)
		return
	case server == "":
		return // nobody would do better
	}
	n.log.Warn("making way for a server that Nomad answers", "server", server)
	n.mu.Lock()
	n.until = time.Now().Add(nomadPause)
	n.mu.Unlock()
	if err := n.stepDown(ctx); err != nil {
		n.log.Warn("the leadership cannot be given up", "error", err)
	}
}

// standBack waits until this server may stand for office again.
func (n *nomadWatch) standBack(ctx context.Context) {
	n.mu.Lock()
	pause := time.NewTimer(time.Until(n.until))
	n.mu.Unlock()
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// trouble says why Nomad does not answer; empty when it does.
func (n *nomadWatch) trouble() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		return ""
	}
	return n.err.Error()
}

// peers asks the other servers for themselves.
type peers struct {
	name    string // of this server
	members func(context.Context) ([]consul.Member, error)
	// transport is what they are called with, and url makes the URL of an address.
	transport func() http.RoundTripper
	url       func(address string) string
}

// hasNomad returns the name of another healthy server that Nomad answers; empty when there is none.
func (p *peers) hasNomad(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nomadLook)
	defer cancel()
	list, err := p.members(ctx)
	if err != nil {
		return "", err
	}
	var last error
	for _, m := range list {
		if m.Name == p.name || m.Problem != "" {
			continue
		}
		h, err := p.health(ctx, m)
		if err != nil {
			last = err
			continue
		}
		if h.Healthy && h.Nomad == "" {
			return m.Name, nil
		}
	}
	return "", last
}

// clocks says how far the clocks of the other healthy servers are ahead of this one's, by name, give or take a second. Those that
// do not answer are left out.
func (p *peers) clocks(ctx context.Context) map[string]time.Duration {
	ctx, cancel := context.WithTimeout(ctx, nomadLook)
	defer cancel()
	list, err := p.members(ctx)
	if err != nil {
		return nil
	}
	out := map[string]time.Duration{}
	for _, m := range list {
		if m.Name == p.name || m.Problem != "" {
			continue
		}
		now := time.Now().Truncate(time.Second)
		if _, at, err := p.ask(ctx, m); err == nil && !at.IsZero() {
			out[m.Name] = at.Sub(now)
		}
	}
	return out
}

// health asks a server for itself.
func (p *peers) health(ctx context.Context, m consul.Member) (api.Health, error) {
	h, _, err := p.ask(ctx, m)
	return h, err
}

// ask asks a server for itself, and for the time.
func (p *peers) ask(ctx context.Context, m consul.Member) (h api.Health, at time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(m.Address)+httpapi.HealthPath, nil)
	if err != nil {
		return h, at, fmt.Errorf("ask server %s: %w", m.Name, err)
	}
	answer, err := (&http.Client{Transport: p.transport()}).Do(req)
	if err != nil {
		return h, at, fmt.Errorf("ask server %s: %w", m.Name, err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, 1<<20)).Decode(&h); err != nil {
		return h, at, fmt.Errorf("ask server %s: %w", m.Name, err)
	}
	if at, err = http.ParseTime(answer.Header.Get("Date")); err != nil {
		return h, time.Time{}, nil // a proxy may leave it out
	}
	return h, at, nil
}
