// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package httpcall makes the calls of http tasks, within limits: where they go, how long they take, and how much is said
// and heard. Nothing of a call is logged, and what is told of one names its destination only, without the part of a URL
// that may hold a secret.
package httpcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// maxRedirects bounds the redirects that one call follows.
const maxRedirects = 10

// Caller makes calls to where its policy lets them go. It is safe for concurrent use and keeps nothing between calls.
type Caller struct {
	Policy Policy
}

// Call makes one call and says how it ended. key goes with it as its idempotency key, unless the call has one of its own.
// The call ends with ctx at the latest: OutcomeKilled.
func (c *Caller) Call(ctx context.Context, body workflow.HTTPBody, key string) engine.Outcome {
	req, err := newRequest(body, key)
	if err != nil {
		return engine.Outcome{Kind: engine.OutcomeInvalid, Message: err.Error()}
	}
	if err := c.Policy.checkName(req.URL.Hostname(), portOf(req.URL)); err != nil {
		return engine.Outcome{Kind: engine.OutcomeInvalid, Message: err.Error()}
	}
	limit := body.Timeout
	if limit <= 0 || limit > workflow.MaxHTTPTimeout {
		limit = workflow.MaxHTTPTimeout
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	status, answer, err := c.exchange(req.WithContext(timed), body.ExpectStatus)
	out := engine.Outcome{StartedAt: workflow.At(began), EndedAt: workflow.At(time.Now())}
	what := body.Method + " " + shown(req.URL)
	switch _, refused := asRefusal(err); {
	case err == nil:
		judge(&out, body, what, status, answer)
	case refused:
		out.Kind, out.Message = engine.OutcomeInvalid, err.Error()
	case ctx.Err() != nil:
		out.Kind = engine.OutcomeKilled
	case timed.Err() != nil:
		out.Kind, out.Message = engine.OutcomeTimedOut, fmt.Sprintf("%s: no answer within %s", what, limit)
	default:
		out.Kind, out.Message = engine.OutcomeFailed, fmt.Sprintf("%s: %s", what, err)
	}
	return out
}

// newRequest makes the request of a body, or says what is wrong with it.
func newRequest(body workflow.HTTPBody, key string) (*http.Request, error) {
	if len(body.Body) > workflow.MaxHTTPBodyBytes {
		return nil, fmt.Errorf("the body of the call has %d bytes, at most %d are sent: hand over where larger data lies",
			len(body.Body), workflow.MaxHTTPBodyBytes)
	}
	to, err := url.Parse(body.URL)
	switch {
	case err != nil || to.Hostname() == "" || to.Scheme != "http" && to.Scheme != "https":
		// The text itself is not shown: it may hold a password.
		return nil, errors.New("url is not one that can be called: want http:// or https://, a host and a path")
	case body.Method == "":
		return nil, errors.New("the call has no method: write one, such as GET")
	}
	var content io.Reader
	if body.Body != "" {
		content = strings.NewReader(body.Body)
	}
	req, err := http.NewRequest(body.Method, to.String(), content)
	if err != nil {
		return nil, fmt.Errorf("method %q is none that can be used", body.Method)
	}
	for name, value := range body.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	for name, value := range map[string]string{"Idempotency-Key": key, "User-Agent": "cairn"} {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// exchange sends the request and reads the answer. A redirect that is expected is the answer.
func (c *Caller) exchange(req *http.Request, expect []int) (status int, answer []byte, err error) {
	transport := &http.Transport{
		DialContext: c.dialer(req.URL.Hostname()).DialContext,
		// Every connection is dialled, and so judged, anew.
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 2 * workflow.MaxHTTPBodyBytes,
	}
	if c.Policy.Everything {
		transport.Proxy = http.ProxyFromEnvironment // it decides where the bytes go, which only this policy leaves open
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: follow}
	if slices.ContainsFunc(expect, func(status int) bool { return status >= 300 && status <= 399 }) {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, bare(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, workflow.MaxHTTPBodyBytes+1))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer broke off: %w", bare(err))
	}
	if len(answer) > workflow.MaxHTTPBodyBytes {
		return 0, nil, fmt.Errorf("the answer is larger than %d bytes: let it be stored somewhere, and answer where it lies", workflow.MaxHTTPBodyBytes)
	}
	return resp.StatusCode, answer, nil
}

// dialer connects to where the policy lets it. Control sees the address itself, after the name was resolved: a name that
// resolves to something else the second time gets nowhere.
func (c *Caller) dialer(name string) *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", address, err)
		}
		return c.Policy.checkAddress(name, to)
	}}
}

// follow allows redirects that stay with the host, and as private as they are.
func follow(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case !strings.EqualFold(next.URL.Hostname(), first.Hostname()):
		return fmt.Errorf("it is redirected to another host, %s, where calls do not follow: call that one", next.URL.Hostname())
	case first.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("it is redirected from https to http, where calls do not follow")
	case len(via) > maxRedirects:
		return fmt.Errorf("it was redirected %d times", maxRedirects)
	}
	return nil
}

// bare takes away what the HTTP client puts around an error: the URL, with whatever is in it.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// shown is what may be told of a URL: user, path and query may each be a secret.
func shown(u *url.URL) string { return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() }

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// judge decides whether the answer is the one that was wanted, and makes outputs of it.
func judge(out *engine.Outcome, body workflow.HTTPBody, what string, status int, answer []byte) {
	wanted := status >= 200 && status <= 299
	if len(body.ExpectStatus) > 0 {
		wanted = slices.Contains(body.ExpectStatus, status)
	}
	if !wanted {
		out.Kind, out.Message = engine.OutcomeFailed, fmt.Sprintf("%s: answered %d, %s", what, status, expected(body.ExpectStatus))
		return
	}
	text, err := json.Marshal(strings.ToValidUTF8(string(answer), string(utf8.RuneError)))
	if err != nil {
		out.Kind, out.Message = engine.OutcomeFailed, fmt.Sprintf("%s: the answer is no text", what)
		return
	}
	document := json.RawMessage("null")
	if json.Valid(answer) {
		document = answer
	}
	zero := 0
	out.Kind, out.ExitCode = engine.OutcomeExited, &zero
	out.Values = map[string]workflow.Value{
		"status": {JSON: json.RawMessage(fmt.Sprint(status))},
		"body":   {JSON: text},
		"json":   {JSON: document},
	}
}

func expected(statuses []int) string {
	if len(statuses) == 0 {
		return "200 to 299 was expected"
	}
	texts := make([]string, len(statuses))
	for i, s := range statuses {
		texts[i] = fmt.Sprint(s)
	}
	return strings.Join(texts, " or ") + " was expected"
}
