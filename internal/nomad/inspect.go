// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/workers"
)

// AgentFacts is how an agent of Nomad is set up, by its own word.
type AgentFacts struct {
	Version string
	Server  bool // it is one; it may be a client, too
	ACL     bool // access control is on
	// Of a server; 0: Nomad's default.
	MinHeartbeatTTL, HeartbeatGrace, FailoverHeartbeatTTL time.Duration
	MaxAllocs                                             int // of a client: gc_max_allocs
	// Ahead is how far its clock is ahead of this process's, give or take a second.
	Ahead time.Duration
}

// selfAnswer is what is read of /v1/agent/self.
type selfAnswer struct {
	Config struct {
		Version struct{ Version string }
		ACL     struct{ Enabled bool }
		Server  struct {
			Enabled                                               bool
			MinHeartbeatTTL, HeartbeatGrace, FailoverHeartbeatTTL time.Duration
		}
		Client struct{ GCMaxAllocs int }
	} `json:"config"`
}

func (s *selfAnswer) facts() AgentFacts {
	c := &s.Config
	return AgentFacts{
		Version: c.Version.Version, Server: c.Server.Enabled, ACL: c.ACL.Enabled,
		MinHeartbeatTTL: c.Server.MinHeartbeatTTL, HeartbeatGrace: c.Server.HeartbeatGrace, FailoverHeartbeatTTL: c.Server.FailoverHeartbeatTTL,
		MaxAllocs: c.Client.GCMaxAllocs,
	}
}

const selfPath = "/v1/agent/self"

// Inspect asks the agent that this executor talks to how it is set up. It takes agent:read.
func (e *Executor) Inspect(ctx context.Context) (AgentFacts, error) {
	var answer selfAnswer
	var ahead time.Duration
	err := e.client.call(ctx, &e.client.count.nodes, func(ctx context.Context, secret string) error {
		resp, err := e.client.send(ctx, http.MethodGet, realm{}, selfPath, url.Values{}, nil, secret)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			ahead = at.Sub(e.cfg.Now().Truncate(time.Second))
		}
		return json.NewDecoder(resp.Body).Decode(&answer)
	})
	if err != nil {
		return AgentFacts{}, fmt.Errorf("ask Nomad's agent for its configuration: %w", err)
	}
	out := answer.facts()
	out.Ahead = ahead
	return out, nil
}

// inspectFor is how long all clients together may take to tell.
const inspectFor = 10 * time.Second

// InspectWorkers asks the clients of nodes themselves, not through servers, how they are set up. Those that cannot be reached
// from here, or do not tell in time, are left out. Their clocks are not asked for.
func (e *Executor) InspectWorkers(ctx context.Context, nodes []workers.Node) map[string]AgentFacts {
	ctx, cancel := context.WithTimeout(ctx, inspectFor)
	defer cancel()
	var mu sync.Mutex // guards out
	out := map[string]AgentFacts{}
	places := make(chan struct{}, nodesAtOnce)
	var group sync.WaitGroup
	for _, n := range nodes {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			found, err := e.inspectWorker(ctx, n)
			if err != nil {
				e.log.Debug("a client does not say how it is set up", "node", n.Name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[n.ID] = found
		})
	}
	group.Wait()
	return out
}

// inspectWorker asks one client. It has connections of its own: that a client is out of reach says nothing about Nomad's servers.
func (e *Executor) inspectWorker(ctx context.Context, n workers.Node) (AgentFacts, error) {
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	var node *nomadapi.Node
	err := e.readNode(ctx, func(ctx context.Context, secret string) (err error) {
		node, _, err = e.client.api.Nodes().Info(n.ID, realm{region: n.Region}.query(ctx, secret))
		return err
	})
	if err != nil {
		return AgentFacts{}, err
	}
	secret, err := e.client.token.get()
	if err != nil {
		return AgentFacts{}, err
	}
	address := &url.URL{Scheme: "http", Host: node.HTTPAddr}
	config := &nomadapi.Config{SecretID: secret, TLSConfig: &nomadapi.TLSConfig{}}
	if node.TLSEnabled {
		t := e.cfg.TLS
		address.Scheme = "https"
		config.TLSConfig = &nomadapi.TLSConfig{
			CACert: t.CACert, CAPath: t.CAPath, ClientCert: t.ClientCert, ClientKey: t.ClientKey, Insecure: t.Insecure,
			TLSServerName: "client." + cmp.Or(n.Region, e.cfg.Region, nomadapi.GlobalRegion) + ".nomad",
		}
	}
	config.Address = address.String()
	client, err := nomadapi.NewClient(config)
	if err != nil {
		return AgentFacts{}, err
	}
	defer client.Close()
	var answer selfAnswer
	if _, err := client.Raw().Query(selfPath, &answer, (&nomadapi.QueryOptions{}).WithContext(ctx)); err != nil {
		return AgentFacts{}, err
	}
	return answer.facts(), nil
}
