// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	consulapi "github.com/hashicorp/consul/api"
)

// Member is a server as Consul knows it.
type Member struct {
	Name    string
	Address string // host:port of its API
	Version string // of Cairn
	Format  int    // of what it writes into the store; 0 = it does not say
	Problem string // why Consul takes it for unhealthy; empty = it is healthy
}

// Members lists the registered servers that share this server's store, by name.
func (s *Service) Members(ctx context.Context) ([]Member, error) {
	return s.client.members(ctx, s.prefix)
}

// members lists the registered servers whose store is below the prefix, by name.
func (c *client) members(ctx context.Context, prefix string) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	q := (&consulapi.QueryOptions{RequireConsistent: true}).WithContext(ctx)
	found, _, err := c.api.Health().Service(ServiceName, "", false, q)
	if err != nil {
		return nil, fmt.Errorf("ask Consul for the servers: %w", err)
	}
	var list []Member
	for _, e := range found {
		if e.Service.Meta[metaPrefix] == prefix {
			list = append(list, memberOf(e))
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address)) })
	return list, nil
}

func memberOf(e *consulapi.ServiceEntry) Member {
	host := e.Service.Address
	if host == "" {
		host = e.Node.Address
	}
	m := Member{
		Name: e.Service.Meta[metaName], Address: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)), Version: e.Service.Meta[metaVersion],
	}
	if n, err := strconv.Atoi(e.Service.Meta[metaFormat]); err == nil {
		m.Format = n
	}
	for _, c := range e.Checks {
		if c.Status != consulapi.HealthPassing {
			m.Problem = problem(c)
			break
		}
	}
	return m
}

// problemWords bounds what a check says of its failure: it may be a whole page.
const problemWords = 200

// problem is what a check that does not pass says, on one line.
func problem(c *consulapi.HealthCheck) string {
	if out := said(c); out != "" {
		return fmt.Sprintf("check %q is %s: %s", c.Name, c.Status, out)
	}
	return fmt.Sprintf("check %q is %s", c.Name, c.Status)
}

// said is the output of a check on one line, the beginning of it.
func said(c *consulapi.HealthCheck) string {
	out := strings.Join(strings.Fields(c.Output), " ")
	if len(out) > problemWords {
		out = strings.ToValidUTF8(out[:problemWords], "") + "…"
	}
	return out
}
