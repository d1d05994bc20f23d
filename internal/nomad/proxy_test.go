// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// proxy stands between an executor and Nomad and does what networks and overloaded servers do.
type proxy struct {
	t       *testing.T
	server  *httptest.Server
	forward http.Handler

	mu   sync.Mutex // guards what follows
	rule func(*http.Request) fault
	seen map[string]int // requests by "METHOD path", IDs left out
	now  map[string]int // of them, under way
	most map[string]int // of them, under way at once

	open map[*http.Request]context.CancelFunc // under way
}

// fault is what happens to a request; the zero value forwards it.
type fault struct {
	code   int           // answer this instead
	text   string        // with this
	cut    bool          // break the connection instead of answering
	after  bool          // cut only when Nomad has done what was asked
	before chan struct{} // wait for this to be closed, first
	answer *answer       // hold back what Nomad answers
}

// answer is one of Nomad's that has been given, and does not arrive yet.
type answer struct{ given, arrives chan struct{} }

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, seen: map[string]int{}, now: map[string]int{}, most: map[string]int{}, open: map[*http.Request]context.CancelFunc{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// through is a change of a rig's configuration.
func (p *proxy) through(c *Config) { c.Address = p.server.URL }

func (p *proxy) serve(w http.ResponseWriter, req *http.Request) {
	name := requestName(req)
	p.mu.Lock()
	p.seen[name]++
	p.now[name]++
	p.most[name] = max(p.most[name], p.now[name])
	var f fault
	if p.rule != nil {
		f = p.rule(req)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.now[name]--
		p.mu.Unlock()
	}()
	// A server notices that its client has gone only when it has read the body.
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	req = req.WithContext(ctx)
	req.Body = io.NopCloser(bytes.NewReader(body))
	defer p.track(req, cancel)()
	if f.before != nil {
		select {
		case <-f.before:
		case <-req.Context().Done():
			return
		}
	}
	switch {
	case f.after:
		p.forward.ServeHTTP(httptest.NewRecorder(), req)
		panic(http.ErrAbortHandler)
	case f.cut:
		panic(http.ErrAbortHandler)
	case f.code != 0:
		http.Error(w, f.text, f.code)
	case f.answer != nil:
		held := httptest.NewRecorder()
		p.forward.ServeHTTP(held, req)
		close(f.answer.given)
		select {
		case <-f.answer.arrives:
		case <-req.Context().Done():
			return
		}
		maps.Copy(w.Header(), held.Header())
		w.WriteHeader(held.Code)
		if _, err := w.Write(held.Body.Bytes()); err != nil {
			panic(http.ErrAbortHandler)
		}
	default:
		p.forward.ServeHTTP(w, req)
	}
}

// requestName is the method and the path up to the first ID.
func requestName(req *http.Request) string {
	path := req.URL.Path
	for _, prefix := range []string{"/v1/job/", "/v1/client/fs/stream/", "/v1/client/fs/logs/", "/v1/allocation/", "/v1/evaluation/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			_, tail, _ := strings.Cut(rest, "/")
			return req.Method + " " + prefix + tail
		}
	}
	return req.Method + " " + path
}

// The requests that tests name.
const (
	reqRegister = "PUT /v1/jobs"
	reqValidate = "PUT /v1/validate/job"
	reqStream   = "GET /v1/event/stream"
	reqJobs     = "GET /v1/jobs"
	reqStatuses = "POST /v1/jobs/statuses"
	reqOutput   = "GET /v1/client/fs/stream/"
	reqStop     = "DELETE /v1/job/"
)

// set makes a rule for all requests from now on; nil forwards them all.
func (p *proxy) set(rule func(*http.Request) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// on makes a rule for one kind of request.
func (p *proxy) on(name string, f fault) {
	p.set(func(req *http.Request) fault {
		if requestName(req) == name {
			return f
		}
		return fault{}
	})
}

func (p *proxy) mostAtOnce(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most[name]
}

// track notes a request while it is under way.
func (p *proxy) track(req *http.Request, cancel context.CancelFunc) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[req] = cancel
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, req)
	}
}

// cut breaks the connections of requests that are under way.
func (p *proxy) cut(which func(*http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for req, cancel := range p.open {
		if which(req) {
			cancel()
		}
	}
}

// cutStreams breaks every event stream.
func (p *proxy) cutStreams() {
	p.cut(func(req *http.Request) bool { return requestName(req) == reqStream })
}

// unusedAddress returns the address of a port that nothing listens on.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}
