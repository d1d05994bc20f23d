// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package client calls Cairn's HTTP API: over a run's unix socket, over TCP, or on a handler in this process.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

const (
	dialTimeout = 5 * time.Second
	// callTimeout is a little more than what the server gives itself, so that its sentence arrives.
	callTimeout = 35 * time.Second
	// grace is what a blocking read may take beyond its wait.
	grace = 15 * time.Second
	// idleTimeout bounds the silence in a log that is not followed.
	idleTimeout = time.Minute
	// maxError bounds what is read of an answer that is not ours.
	maxError = 64 << 10
)

// UnreachableError says that nobody answered. Whether a call has arrived is unknown unless NotSent.
type UnreachableError struct {
	Where   string // whom it was asked of, for people
	NotSent bool   // the connection was not made: nothing has happened there
	Err     error
}

func (e *UnreachableError) Error() string {
	switch {
	case errors.Is(e.Err, os.ErrNotExist):
		return fmt.Sprintf("no Cairn answers at %s: there is no such socket", e.Where)
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no Cairn answers at %s: the connection was refused", e.Where)
	case errors.Is(e.Err, os.ErrPermission):
		return fmt.Sprintf("%s may not be used by this user: permission denied", e.Where)
	case errors.Is(e.Err, context.DeadlineExceeded), isTimeout(e.Err):
		return fmt.Sprintf("Cairn at %s did not answer in time", e.Where)
	}
	if why := distrust(e.Err); why != "" {
		return fmt.Sprintf("Cairn at %s %s", e.Where, why)
	}
	return fmt.Sprintf("the connection to Cairn at %s broke: %s", e.Where, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// Client calls one server. It is safe for concurrent use.
type Client struct {
	where string
	base  string
	token string // presented with every request; may be empty
	stale bool   // see Server
	http  *http.Client
}

// Unix returns a client of the server behind a unix socket.
func Unix(path string) *Client {
	dial := net.Dialer{Timeout: dialTimeout}
	return &Client{
		where: path,
		base:  "http://cairn",
		http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial.DialContext(ctx, "unix", path)
			},
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     time.Minute,
		}},
	}
}

// InProcess returns a client of a handler in this process. Where names it in errors.
func InProcess(where string, h http.Handler) *Client {
	return &Client{where: where, base: "http://cairn", http: &http.Client{Transport: handlerTransport{h}}}
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Where names the server for people.
func (c *Client) Where() string { return c.where }

// Health asks the server how it is.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	var out api.Health
	_, err := c.call(ctx, callTimeout, http.MethodGet, "/v1/agent/health", nil, nil, &out)
	return out, err
}

// Run returns the document of a run.
func (c *Client) Run(ctx context.Context, id string) (*api.Run, error) {
	run, _, err := c.Wait(ctx, id, 0, 0)
	return run, err
}

// Wait returns the document of a run once its index is no longer the one given, it is over, or wait has passed. With index
// 0 it returns at once. The index that comes back is for the next call.
func (c *Client) Wait(ctx context.Context, id string, index uint64, wait time.Duration) (*api.Run, uint64, error) {
	query := url.Values{}
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
		query.Set("wait", wait.String())
	}
	run := &api.Run{}
	header, err := c.call(ctx, max(callTimeout, wait+grace), http.MethodGet, runPath(id, ""), c.content(query), nil, run)
	if err != nil {
		return nil, 0, err
	}
	now, err := strconv.ParseUint(header.Get(api.IndexHeader), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("%s answered without a readable %s: is that a Cairn server?", c.where, api.IndexHeader)
	}
	return run, now, nil
}

// InstancesQuery names a task and filters and pages its instances.
type InstancesQuery struct {
	Task    string
	Status  string
	Next    string
	PerPage int
}

// Instances returns a page of a task's instances.
func (c *Client) Instances(ctx context.Context, id string, q InstancesQuery) (api.Instances, error) {
	query := url.Values{}
	set(query, "task", q.Task)
	set(query, "status", q.Status)
	set(query, "next", q.Next)
	if q.PerPage > 0 {
		query.Set("per_page", strconv.Itoa(q.PerPage))
	}
	var out api.Instances
	_, err := c.call(ctx, callTimeout, http.MethodGet, runPath(id, "/instances"), c.content(query), nil, &out)
	return out, err
}

// Verb uses a verb on a run and returns how the run stands then.
func (c *Client) Verb(ctx context.Context, id string, verb api.Verb, req api.VerbRequest) (api.RunEntry, error) {
	var out api.RunEntry
	_, err := c.call(ctx, callTimeout, http.MethodPost, runPath(id, "/"+string(verb)), nil, req, &out)
	return out, err
}

// RetryPlan returns what a retry of a run, or of one of its tasks, would run again.
func (c *Client) RetryPlan(ctx context.Context, id, task string) (api.Plan, error) {
	query := url.Values{}
	set(query, "task", task)
	var out api.Plan
	_, err := c.call(ctx, callTimeout, http.MethodGet, runPath(id, "/"+string(api.VerbRetry)), query, nil, &out)
	return out, err
}

// Submit starts a new run, and returns how that stands.
func (c *Client) Submit(ctx context.Context, req api.SubmitRequest) (api.RunEntry, error) {
	var out api.RunEntry
	_, err := c.call(ctx, callTimeout, http.MethodPost, "/v1/runs", nil, req, &out)
	return out, err
}

// Rerun starts a new run of the definition of a run that is over, and returns how that stands.
func (c *Client) Rerun(ctx context.Context, id string, req api.RerunRequest) (api.RunEntry, error) {
	var out api.RunEntry
	_, err := c.call(ctx, callTimeout, http.MethodPost, runPath(id, "/rerun"), nil, req, &out)
	return out, err
}

// Logs opens a log; the caller closes it. A log that is followed has no timeout but ctx.
func (c *Client) Logs(ctx context.Context, id string, q api.LogQuery) (io.ReadCloser, error) {
	query := url.Values{}
	query.Set("task", q.Task)
	if q.Key != nil {
		query.Set("key", *q.Key)
	}
	if q.Attempt > 0 {
		query.Set("attempt", strconv.Itoa(q.Attempt))
	}
	set(query, "part", q.Part)
	if q.Stderr {
		query.Set("stream", "stderr")
	}
	if q.Follow {
		query.Set("follow", "true")
	}
	if q.Tail > 0 {
		query.Set("tail", strconv.FormatInt(q.Tail, 10))
	}
	timeout := idleTimeout
	if q.Follow {
		timeout = 0
	}
	return c.stream(ctx, timeout, runPath(id, "/logs"), query, nil)
}

func runPath(id, rest string) string { return "/v1/run/" + url.PathEscape(id) + rest }

// content asks for no more than the server knows by itself, if that is enough.
func (c *Client) content(query url.Values) url.Values {
	if c.stale {
		query.Set("stale", "true")
	}
	return query
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// call makes one request and decodes its answer into out.
func (c *Client) call(
	ctx context.Context, timeout time.Duration, method, path string, query url.Values, in, out any,
) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	res, err := c.do(ctx, method, path, query, nil, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("%s answered with something that is no JSON: is that a Cairn server? (%w)", c.where, err)
	}
	return res.Header, nil
}

// do sends a request and turns every answer that is no success into an error.
func (c *Client) do(
	ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader,
) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make a request for %s: %w", target, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set(api.TokenHeader, c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxError))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if strings.Contains(string(b), saysTLS) {
		return nil, fmt.Errorf("%s speaks TLS: write https:// in its address", c.where)
	}
	said := &api.Error{}
	if err := json.Unmarshal(b, said); err != nil || said.Code == "" {
		return nil, fmt.Errorf("%s answered %s to %s %s: is that a Cairn server?", c.where, res.Status, method, path)
	}
	return nil, said
}

func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var broken *url.Error
	if errors.As(err, &broken) {
		err = broken.Err
	}
	var op *net.OpError
	notSent := errors.As(err, &op) && op.Op == "dial" || distrust(err) != ""
	return &UnreachableError{Where: c.where, NotSent: notSent, Err: err}
}

// stream opens an answer that is read as it comes. With idle > 0 it breaks off after that much silence.
func (c *Client) stream(ctx context.Context, idle time.Duration, path string, query url.Values, header http.Header) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{client: c, idle: idle, cancel: cancel}
	if idle > 0 {
		s.timer = time.AfterFunc(idle, func() {
			s.expired.Store(true)
			cancel()
		})
	}
	res, err := c.do(ctx, http.MethodGet, path, query, header, nil)
	if err != nil {
		s.release()
		return nil, s.explain(err)
	}
	s.body = res.Body
	return s, nil
}

// stream is the body of an answer under an idle timeout.
type stream struct {
	client  *Client
	body    io.ReadCloser
	idle    time.Duration
	timer   *time.Timer // nil without an idle timeout
	expired atomic.Bool
	cancel  context.CancelFunc
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if s.timer != nil {
		s.timer.Reset(s.idle)
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, s.explain(s.client.unreachable(err))
}

// explain tells our own timeout from a caller that lost interest.
func (s *stream) explain(err error) error {
	if s.expired.Load() && errors.Is(err, context.Canceled) {
		return &UnreachableError{Where: s.client.where, Err: context.DeadlineExceeded}
	}
	return err
}

func (s *stream) Close() error {
	err := s.body.Close()
	s.release()
	return err
}

func (s *stream) release() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel()
}
