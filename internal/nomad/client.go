// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// Nomad allows 100 connections per source address; ours stay below it whatever is asked for.
const (
	maxRegistrations = 16 // in flight, tombstones and stops included
	maxReads         = 16
	maxWaits         = 16 // blocking queries for the end of a stop
	maxLogStreams    = 16 // each may hold a second connection, to learn when to end
	maxRoll          = 8
	maxConnections   = 90
)

// realm is where jobs are registered, listed and watched together.
type realm struct {
	region    string // empty = the agent's own
	namespace string
}

func (r realm) String() string {
	if r.region == "" {
		return r.namespace
	}
	return r.region + "/" + r.namespace
}

// client makes the calls: one HTTP client for all of them, a bound on what is in flight, a timeout on each, a count.
type client struct {
	api     *nomadapi.Client
	http    *http.Client
	contact *contact
	base    *url.URL
	auth    string // user:password
	timeout time.Duration
	token   token

	registrations chan struct{}
	reads         chan struct{}
	waits         chan struct{}
	logStreams    chan struct{}
	roll          chan struct{}

	count struct {
		registers, validations, outputReads, tombstones counter
		stops, looks, lists, streams, purges            counter
		logReads, evaluations, nodes                    counter
		unauthorized, adoptions, troubles, lost         atomic.Int64
	}
}

// counter counts the calls of one kind, and those of them that did not get what they were made for.
type counter struct {
	atomic.Int64
	failed atomic.Int64
}

// Calls is how often Nomad was called for something, and how often that failed.
type Calls struct {
	Kind         string
	Made, Failed int64
}

// Calls tells what this executor has asked of Nomad since its start.
func (e *Executor) Calls() []Calls {
	c := &e.client.count
	var list []Calls
	for _, k := range []struct {
		kind string
		of   *counter
	}{
		{"register", &c.registers}, {"validate", &c.validations}, {"read_outputs", &c.outputReads}, {"tombstone", &c.tombstones},
		{"stop", &c.stops}, {"look", &c.looks}, {"list", &c.lists}, {"stream", &c.streams}, {"purge", &c.purges},
		{"read_logs", &c.logReads}, {"evaluations", &c.evaluations}, {"nodes", &c.nodes},
	} {
		list = append(list, Calls{Kind: k.kind, Made: k.of.Load(), Failed: k.of.failed.Load()})
	}
	return list
}

func newClient(cfg Config) (*client, error) {
	base, err := url.Parse(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("parse Nomad's address: %w", err)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxConnsPerHost:     maxConnections,
		MaxIdleConnsPerHost: maxRegistrations + maxReads/2, // others share the address and its limit
		IdleConnTimeout:     15 * time.Second,
		DisableCompression:  true, // the agent is near; compressing costs both sides more than it saves
	}
	if base.Scheme == "unix" {
		socket := base.EscapedPath()
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
		base = &url.URL{Scheme: "http", Host: "127.0.0.1"}
	}
	c := &client{
		http:          &http.Client{Transport: transport},
		base:          base,
		auth:          cfg.HTTPAuth,
		timeout:       cfg.CallTimeout,
		token:         token{fixed: cfg.Token, file: cfg.TokenFile},
		registrations: make(chan struct{}, maxRegistrations),
		reads:         make(chan struct{}, maxReads),
		waits:         make(chan struct{}, maxWaits),
		logStreams:    make(chan struct{}, maxLogStreams),
		roll:          make(chan struct{}, maxRoll),
	}
	err = nomadapi.ConfigureTLS(c.http, &nomadapi.TLSConfig{
		CACert: cfg.TLS.CACert, CAPath: cfg.TLS.CAPath, ClientCert: cfg.TLS.ClientCert, ClientKey: cfg.TLS.ClientKey,
		TLSServerName: cfg.TLS.ServerName, Insecure: cfg.TLS.Insecure,
	})
	if err != nil {
		return nil, fmt.Errorf("configure TLS towards Nomad: %w", err)
	}
	apiConfig := &nomadapi.Config{Address: base.String(), HttpClient: c.http}
	if cfg.HTTPAuth != "" {
		user, password, _ := strings.Cut(cfg.HTTPAuth, ":")
		apiConfig.HttpAuth = &nomadapi.HttpBasicAuth{Username: user, Password: password}
	}
	if c.api, err = nomadapi.NewClient(apiConfig); err != nil {
		return nil, fmt.Errorf("make a client of Nomad: %w", err)
	}
	// Last: the api module takes the transport for its own type.
	c.contact = &contact{next: c.http.Transport}
	c.http.Transport = c.contact
	return c, nil
}

// slot waits for a place among the calls of one kind. The caller gives it back.
func slot(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call makes one call under the timeout. It is made again when Nomad refuses the token and the file has another one by now.
func (c *client) call(ctx context.Context, count *counter, do func(ctx context.Context, token string) error) error {
	secret, err := c.token.get()
	if err != nil {
		return err
	}
	for {
		count.Add(1)
		err := c.once(ctx, secret, do)
		if err != nil {
			count.failed.Add(1)
		}
		if answered(err) != http.StatusForbidden {
			return err
		}
		c.count.unauthorized.Add(1)
		next, readErr := c.token.reread()
		if readErr != nil || next == secret {
			return err
		}
		secret = next
	}
}

func (c *client) once(ctx context.Context, secret string, do func(ctx context.Context, token string) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer from Nomad within %s", c.timeout))
	defer cancel()
	err := explain(do(ctx, secret))
	if err != nil && context.Cause(ctx) != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func (r realm) query(ctx context.Context, secret string) *nomadapi.QueryOptions {
	return (&nomadapi.QueryOptions{Region: r.region, Namespace: r.namespace, AuthToken: secret}).WithContext(ctx)
}

func (r realm) write(ctx context.Context, secret string) *nomadapi.WriteOptions {
	return (&nomadapi.WriteOptions{Region: r.region, Namespace: r.namespace, AuthToken: secret}).WithContext(ctx)
}

// open sends a GET whose answer is read as it comes. It has no timeout but ctx's.
func (c *client) open(ctx context.Context, r realm, path string, params url.Values) (io.ReadCloser, error) {
	secret, err := c.token.get()
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, http.MethodGet, r, path, params, nil, secret)
	if answered(err) == http.StatusForbidden {
		if next, readErr := c.token.reread(); readErr == nil && next != secret {
			resp, err = c.send(ctx, http.MethodGet, r, path, params, nil, next)
		}
	}
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// get decodes the answer to a GET.
func (c *client) get(ctx context.Context, r realm, path string, params url.Values, out any, secret string) error {
	resp, err := c.send(ctx, http.MethodGet, r, path, params, nil, secret)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// post sends a POST and decodes the answer: the one endpoint of Nomad that the api module has no method for refuses PUT.
func (c *client) post(ctx context.Context, r realm, path string, in, out any, secret string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	resp, err := c.send(ctx, http.MethodPost, r, path, url.Values{}, body, secret)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

func (c *client) send(ctx context.Context, method string, r realm, path string, params url.Values, body []byte, secret string) (*http.Response, error) {
	target := *c.base
	target.Path = path
	if r.region != "" {
		params.Set("region", r.region)
	}
	if r.namespace != "" {
		params.Set("namespace", r.namespace)
	}
	target.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if secret != "" {
		req.Header.Set("X-Nomad-Token", secret)
	}
	if c.auth != "" {
		user, password, _ := strings.Cut(c.auth, ":")
		req.SetBasicAuth(user, password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // a sentence; what is missing of it is not worth another error
		return nil, &statusError{code: resp.StatusCode, body: oneLine(string(text))}
	}
	return resp, nil
}

// token is the ACL token: given, or in a file that somebody renews.
type token struct {
	fixed string
	file  string

	mu     sync.Mutex // guards what follows
	loaded bool
	value  string
}

func (t *token) get() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.file == "":
		return t.fixed, nil
	case t.loaded:
		return t.value, nil
	}
	return t.read()
}

// reread returns the token as the file has it now.
func (t *token) reread() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" {
		return t.fixed, nil
	}
	return t.read()
}

func (t *token) read() (string, error) {
	b, err := os.ReadFile(t.file)
	if err != nil {
		return "", fmt.Errorf("read Nomad's token: %w", err)
	}
	t.value, t.loaded = strings.TrimSpace(string(b)), true
	return t.value, nil
}

// Stats counts calls to Nomad since the executor was made.
type Stats struct {
	// Registers and OutputReads are the only calls on the path of a task: at most one of each.
	Registers, OutputReads int64
	// Validations: one per task and definition.
	Validations int64
	// Tombstones are registrations that bar a start; Stops are deregistrations; Adoptions are jobs that existed already.
	Tombstones, Stops, Adoptions int64
	// Lists and Streams are watching; Looks read one job's allocations, Evaluations why it is not placed.
	Lists, Streams, Looks, Evaluations int64
	LogReads, Purges                   int64
	// Unauthorized are answers 403; Troubles are failed starts and stops; Lost are jobs that Nomad no longer knew.
	Unauthorized, Troubles, Lost int64
}

func (c *client) stats() Stats {
	n := &c.count
	return Stats{
		Registers: n.registers.Load(), OutputReads: n.outputReads.Load(), Validations: n.validations.Load(),
		Tombstones: n.tombstones.Load(), Stops: n.stops.Load(), Adoptions: n.adoptions.Load(),
		Lists: n.lists.Load(), Streams: n.streams.Load(), Looks: n.looks.Load(), Evaluations: n.evaluations.Load(),
		LogReads: n.logReads.Load(), Purges: n.purges.Load(),
		Unauthorized: n.unauthorized.Load(), Troubles: n.troubles.Load(), Lost: n.lost.Load(),
	}
}
