// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// Config says how to reach Consul and what to keep there.
type Config struct {
	// Address is the HTTP API of the local agent, with or without a scheme. Empty: what CONSUL_HTTP_ADDR names, or
	// 127.0.0.1:8500. Sessions are bound to the health of the agent's machine, so a remote agent is a mistake.
	Address string
	// Token is the ACL token; empty: what CONSUL_HTTP_TOKEN holds.
	Token string
	// TLS is used with https addresses; what is empty is taken from CONSUL_CACERT and its like.
	TLS TLS
	// Prefix of every key; it ends with a slash.
	Prefix string
	// Name and ServerURL are what others learn of this server while it leads: its name, and the URL of its API.
	Name      string
	ServerURL string
	// Checks are the IDs of checks of services of the local agent. The leadership falls when one of them is critical.
	Checks []string
	// SeenFile keeps the highest counter that this server has seen, to notice that Consul was restored. Empty: not kept.
	SeenFile string
	// TTL of the session, 10s to 24h. Consul ends a session without renewals after twice that: it is the backstop for a
	// server that hangs while its checks pass.
	TTL time.Duration
	// CallTimeout bounds every single call.
	CallTimeout time.Duration
	// Backoff paces the repetition of calls that failed.
	Backoff scheduler.Backoff
	Logger  hclog.Logger
	// Observe is told of every transaction that was answered or given up; nil = nobody wants to know.
	Observe func(Transaction)
}

// Transaction is what one of them came to.
type Transaction struct {
	Kind  string // "write" or "read"
	Ops   int
	Bytes int // of keys and values, those that were read included
	Took  time.Duration
	Err   error // nil also where Consul has refused it, which is an answer
}

// TLS says how an https address is trusted and how this server shows who it is. All files are PEM.
type TLS struct {
	CAFile, CertFile, KeyFile string
	ServerName                string // that the certificate must be for; empty: the host of the address
}

// DefaultConfig returns the defaults of everything that has one.
func DefaultConfig() Config {
	return Config{
		Prefix:      "cairn/",
		TTL:         10 * time.Second, // the shortest that Consul takes
		CallTimeout: 5 * time.Second,
		Backoff:     scheduler.Backoff{Base: 50 * time.Millisecond, Max: 2 * time.Second},
		Logger:      hclog.NewNullLogger(),
	}
}

// Validate says what is out of range.
func (c *Config) Validate() error {
	var errs []error
	switch p := c.Prefix; {
	case p == "" || p == "/" || strings.HasPrefix(p, "/") || !strings.HasSuffix(p, "/"):
		errs = append(errs, fmt.Errorf("prefix %q: want a name and a slash, as in cairn/", p))
	case strings.Contains(p, "//") || strings.Contains(p, "./") || strings.TrimSpace(p) != p:
		errs = append(errs, fmt.Errorf("prefix %q: want names with one slash after each, without dots or spaces around", p))
	}
	if c.TTL < 10*time.Second || c.TTL > 24*time.Hour {
		errs = append(errs, fmt.Errorf("session TTL %s: Consul takes 10s to 24h", c.TTL))
	}
	if c.CallTimeout <= 0 || c.CallTimeout > c.TTL {
		errs = append(errs, fmt.Errorf("call timeout %s: want more than 0 and at most the session TTL, %s", c.CallTimeout, c.TTL))
	}
	errs = append(errs, c.Backoff.Validate())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	return nil
}
