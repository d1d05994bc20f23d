// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func within(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// fate is what becomes of a write on its way to Consul.
type fate int

const (
	deliver    fate = iota
	lose            // it does not arrive
	loseAnswer      // it arrives, its answer does not
	delay           // it has no answer, and arrives after the next one has
	fates
)

func always(f fate) func(int, string) fate { return func(int, string) fate { return f } }

// link stands between a server and Consul.
type link struct {
	t      testing.TB
	target string
	server *httptest.Server

	mu    sync.Mutex // guards what follows
	fate  func(n int, body string) fate
	n     int
	later func()
}

func newLink(t testing.TB, target string) *link {
	l := &link{t: t, target: target}
	l.set(always(deliver))
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

// set decides about the writes from now on, numbered from 0, by their JSON.
func (l *link) set(fate func(n int, body string) fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate, l.n = fate, 0
}

func (l *link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f, later := deliver, func() {}
	if r.URL.Path == "/v1/txn" && bytes.Contains(body, []byte(`"check-session"`)) {
		l.mu.Lock()
		f = l.fate(l.n, string(body))
		l.n++
		if l.later != nil {
			later = l.later
		}
		l.later = nil
		if f == delay {
			l.later = func() { l.pass(httptest.NewRecorder(), r, body) }
		}
		l.mu.Unlock()
	}
	switch f {
	case deliver:
		l.pass(w, r, body)
		later()
		return
	case loseAnswer:
		l.pass(httptest.NewRecorder(), r, body)
	}
	later()
	panic(http.ErrAbortHandler) // closes the connection without an answer
}

func (l *link) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequest(r.Method, l.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return
	}
	for name, values := range r.Header {
		if !strings.EqualFold(name, "Connection") {
			req.Header[name] = values
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Errorf("link to Consul: %v", err)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		return // who asked has gone
	}
}
