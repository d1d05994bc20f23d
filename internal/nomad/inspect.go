// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/workers"
)

// AgentFacts is how an agent of Nomad is set up, by its own word.
type AgentFacts struct {
	Version        string
	Server, Client bool // what it is; it may be both
	ACL            bool // access control is on
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
		Client struct {
			Enabled     bool
			GCMaxAllocs int
		}
	} `json:"config"`
}

func (s *selfAnswer) facts() AgentFacts {
	c := &s.Config
	return AgentFacts{
		Version: c.Version.Version, Server: c.Server.Enabled, Client: c.Client.Enabled, ACL: c.ACL.Enabled,
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

// InspectWorkers asks the clients of nodes themselves, not through servers, how they are set up. Those that cannot be reached
// from here, or do not tell, are left out. Their clocks are not asked for.
func (e *Executor) InspectWorkers(ctx context.Context, nodes []workers.Node) map[string]AgentFacts {
	var mu sync.Mutex // guards out
	out := map[string]AgentFacts{}
	places := make(chan struct{}, nodesAtOnce)
	var group sync.WaitGroup
	for _, n := range nodes {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			var answer selfAnswer
			err := e.client.call(ctx, &e.client.count.nodes, func(ctx context.Context, secret string) error {
				ctx, cancel := context.WithTimeout(ctx, clientPatience)
				defer cancel()
				query := realm{region: n.Region}.query(ctx, secret)
				client, err := e.client.api.GetNodeClientWithTimeout(n.ID, clientPatience, query)
				if err != nil {
					return err
				}
				defer client.Close()
				_, err = client.Raw().Query(selfPath, &answer, query)
				return err
			})
			if err != nil {
				e.log.Debug("a client does not say how it is set up", "node", n.Name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[n.ID] = answer.facts()
		})
	}
	group.Wait()
	return out
}
