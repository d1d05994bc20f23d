// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// forwarder serves the API on every server: the leader answers by itself, the others pass requests on to it, so that whoever
// asks sees what he has submitted.
type forwarder struct {
	name    string
	own     http.Handler
	leading func() bool
	holder  func(context.Context) (consul.Holder, error)
	// other waits until somebody else leads, or ctx ends, which is false; nil = nobody looks.
	other   func(ctx context.Context, than consul.Holder) bool
	passing *httpapi.Watches // bounds what is with the leader at once
	// transport is what the leader is called with; nil = http.DefaultTransport.
	transport func() http.RoundTripper
	counted   func(outcome string) // may be nil
	log       hclog.Logger
}

const (
	// forwardedHeader names the server that has passed a request on: it is not passed on twice. notLeadingHeader is on the
	// answer of a server that got one and does not lead: it has done nothing.
	forwardedHeader  = "X-Cairn-Forwarded-By"
	notLeadingHeader = "X-Cairn-Not-Leading"
	// leaderPatience is how long a request waits for somebody to lead: longer than a takeover takes, shorter than callers
	// wait.
	leaderPatience = 20 * time.Second
	leaderPause    = 50 * time.Millisecond
	// forwardGrace is how much longer than the leader gives itself what changes something may take here.
	forwardGrace = 5 * time.Second
)

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if httpapi.Own(r.URL.Path) || f.leading() {
		f.own.ServeHTTP(w, r)
		return
	}
	if by := r.Header.Get(forwardedHeader); by != "" {
		w.Header().Set(notLeadingHeader, f.name)
		f.fail(w, &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
			Message: fmt.Sprintf("server %s takes %s for the leader, which does not lead (any more)", by, f.name)})
		return
	}
	end, err := f.passing.Begin()
	if err != nil {
		f.count("refused")
		f.refuse(w, err)
		return
	}
	defer end()
	if httpapi.WantsStale(r) {
		f.own.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, httpapi.MaxBody))
	if err != nil {
		f.fail(w, &api.Error{
			Status: http.StatusRequestEntityTooLarge, Code: api.CodeTooLarge,
			Message: fmt.Sprintf("the body of the request cannot be read: %s", err),
		})
		return
	}
	patience, cancel := context.WithTimeout(r.Context(), leaderPatience)
	defer cancel()
	// A leader that has just gone refuses connections, or does not know yet that it leads no more.
	for {
		err := f.pass(w, r, body)
		if err == nil {
			f.count("answered")
			return
		}
		pause := time.NewTimer(leaderPause)
		select {
		case <-pause.C:
			f.count("again")
		case <-patience.Done():
			pause.Stop()
			f.count("given_up")
			// Also where whoever asked is gone: it may be this server that ends, and an answer without a word would read as one.
			f.fail(w, &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeNotReady,
				Message: fmt.Sprintf("no leader answers: %s; ask again", err)})
			return
		}
	}
}

// pass has a request answered by the leader. An error means that nothing was answered, and that the request was not carried
// out, or may be repeated.
func (f *forwarder) pass(w http.ResponseWriter, r *http.Request, body []byte) error {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if f.leading() { // since a moment ago
		f.own.ServeHTTP(w, r)
		return nil
	}
	ask, cancel := context.WithTimeout(r.Context(), leaderPatience)
	holder, err := f.holder(ask)
	cancel()
	switch {
	case err != nil:
		return err
	case holder.URL == "":
		return errors.New("nobody leads at the moment")
	case holder.Name == f.name:
		return errors.New("this server is about to lead")
	}
	target, err := url.Parse(holder.URL)
	if err != nil {
		return fmt.Errorf("server %s says that it is at %q: %w", holder.Name, holder.URL, err)
	}
	// What changes something is not cut off with its caller, or with this server: the leader is at it.
	ctx, stop := context.WithCancel(r.Context())
	if r.Method != http.MethodGet {
		ctx, stop = context.WithTimeout(context.WithoutCancel(r.Context()), httpapi.Patience(r.URL.Path)+forwardGrace)
	}
	defer stop()
	// A leader that hangs does not break the connection. One that steps down answers when another one leads.
	if f.other != nil && r.URL.Path != httpapi.StepDownPath {
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			if f.other(ctx, holder) {
				stop()
			}
		}()
		defer func() {
			stop()
			<-watching
		}()
	}
	r = r.WithContext(ctx)
	var failed error
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.SetXForwarded() // the audit wants to know who it was
			p.Out.Header.Set(forwardedHeader, f.name)
		},
		BufferPool:    copyBuffers{},
		FlushInterval: -1, // logs that are followed
		ErrorLog:      f.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failed = fmt.Errorf("server %s does not answer: %w", holder.Name, err)
		},
		ModifyResponse: func(answer *http.Response) error {
			switch by := answer.Header.Get(notLeadingHeader); {
			case by == "":
				return nil
			case by != holder.Name:
				return fmt.Errorf("%w: server %s answers at %s: set http.advertise of %s to an address of its own",
					errNotLeading, by, holder.URL, holder.Name)
			}
			return errNotLeading
		},
	}
	if f.transport != nil {
		proxy.Transport = f.transport()
	}
	pass := proxy.ServeHTTP
	if httpapi.Streams(r.URL.Path) {
		pass = endingWell(pass)
	}
	pass(w, r)
	if failed != nil && r.Method != http.MethodGet && !nothingDone(failed) {
		f.fail(w, &api.Error{Status: http.StatusBadGateway, Code: api.CodeUnknown,
			Message: fmt.Sprintf("%s; whether it has done what was asked is not known: look, and ask again if it has not", failed)})
		return nil
	}
	return failed
}

// endingWell lets an answer that breaks off end as one that is whole, for readers who take it up again.
func endingWell(pass http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		pass(w, r)
	}
}

func (f *forwarder) count(outcome string) {
	if f.counted != nil {
		f.counted(outcome)
	}
}

func (f *forwarder) refuse(w http.ResponseWriter, err error) {
	var said *api.Error
	if !errors.As(err, &said) {
		said = &api.Error{Status: http.StatusInternalServerError, Code: api.CodeInternal, Message: err.Error()}
	}
	f.fail(w, said)
}

// copyBuffers lends what answers are copied with: a stream holds one for as long as it lives.
type copyBuffers struct{}

// Get implements httputil.BufferPool.
func (copyBuffers) Get() []byte { return make([]byte, 4<<10) }

// Put implements httputil.BufferPool.
func (copyBuffers) Put([]byte) {}

func (f *forwarder) fail(w http.ResponseWriter, e *api.Error) {
	if err := writeError(w, e); err != nil {
		f.log.Debug("answer was not taken", "error", err)
	}
}

// writeError answers a request that no handler of the API sees.
func writeError(w http.ResponseWriter, e *api.Error) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	return json.NewEncoder(w).Encode(e)
}

var errNotLeading = errors.New("it does not lead (any more)")

// leaderWatch notices that another server leads.
type leaderWatch struct {
	holder func(context.Context) (consul.Holder, error)

	mu      sync.Mutex // guards what follows
	last    consul.Holder
	changed chan struct{} // closed and replaced with every change
}

func newLeaderWatch(holder func(context.Context) (consul.Holder, error)) *leaderWatch {
	return &leaderWatch{holder: holder, changed: make(chan struct{})}
}

// other waits until somebody else is seen to lead. What was seen before says nothing: the caller may have looked later.
func (l *leaderWatch) other(ctx context.Context, than consul.Holder) bool {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
		l.mu.Lock()
		now := l.last
		l.mu.Unlock()
		if now != than {
			return true
		}
	}
}

// leaderLook is how often Consul is asked who leads: a request to a leader that hangs loses no more than that.
const leaderLook = 500 * time.Millisecond

// keep asks who leads until ctx ends. That Consul does not answer is no change.
func (l *leaderWatch) keep(ctx context.Context) {
	tick := time.NewTicker(leaderLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, err := l.holder(ctx)
		if err != nil || now == (consul.Holder{}) {
			continue
		}
		l.mu.Lock()
		if now != l.last {
			l.last = now
			close(l.changed)
			l.changed = make(chan struct{})
		}
		l.mu.Unlock()
	}
}

// nothingDone reports whether a request that failed was certainly not carried out.
func nothingDone(err error) bool {
	var op *net.OpError
	var distrusted *tls.CertificateVerificationError
	return errors.Is(err, errNotLeading) || errors.As(err, &distrusted) || errors.As(err, &op) && op.Op == "dial"
}
