// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"text/template"
	"time"

	consulapi "github.com/hashicorp/consul/api"
)

//go:embed consul.hcl.tmpl
var consulConfigText string

var consulTemplate = template.Must(template.New("consul.hcl").Parse(consulConfigText))

// ConsulConfig says what Consul to start. Its zero value is one server without
// access control.
type ConsulConfig struct {
	Servers int    // default 1
	Clients int    // agents without a vote, as on the machines of services
	Group   uint32 // Agent.Group of the first client; the others have the next ones. 0 = none has one
	ACL     bool   // bootstrap access control; the management token is ConsulCluster.Token
	Extra   string // more agent configuration in HCL, merged over ours, for every agent
	Dir     string // where the cluster makes its folder; empty: among temporary files
}

// ConsulCluster is a running Consul.
type ConsulCluster struct {
	Servers []*Agent
	Clients []*Agent
	Token   string // management token, empty without ACL

	ground *ground
	config ConsulConfig
}

// Consul starts a Consul for one test and removes it when the test ends; the test
// fails where the agents do not become ready.
func Consul(tb testing.TB, config ConsulConfig) *ConsulCluster {
	tb.Helper()
	ConsulBinary(tb)
	c, err := StartConsul(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeAfter(tb, c.ground) })
	return c
}

// StartConsul starts a Consul and returns when it has a leader and every agent is
// healthy in the catalog. The caller calls Close.
func StartConsul(config ConsulConfig) (*ConsulCluster, error) {
	config.Servers = cmp.Or(config.Servers, 1)
	binary, err := findBinary("consul")
	if err != nil {
		return nil, err
	}
	g, err := newGround(config.Dir)
	if err != nil {
		return nil, err
	}
	c := &ConsulCluster{ground: g, config: config}
	if config.ACL {
		c.Token = newUUID()
	}
	if err := c.start(binary); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return c, nil
}

// Close ends all agents and removes their files.
func (c *ConsulCluster) Close() error { return c.ground.close() }

// Address returns the address of the first server's HTTP API.
func (c *ConsulCluster) Address() string { return c.Servers[0].Address }

// Client returns a client of the first server, with the management token if there
// is one.
func (c *ConsulCluster) Client() *consulapi.Client { return c.ClientOf(c.Servers[0]) }

// ClientOf returns a client of one agent's HTTP API.
func (c *ConsulCluster) ClientOf(a *Agent) *consulapi.Client {
	client, err := consulapi.NewClient(&consulapi.Config{Address: a.Address, Token: c.Token})
	if err != nil {
		panic(fmt.Sprintf("testcluster: client of %s: %v", a.Address, err)) // the address is ours
	}
	return client
}

// Agents returns every agent once, servers first.
func (c *ConsulCluster) Agents() []*Agent { return c.ground.agents }

// Stop, Kill, Start, Pause and Resume do to every agent what Agent's methods do to one.
func (c *ConsulCluster) Stop() error   { return each(c.Agents(), (*Agent).Stop) }
func (c *ConsulCluster) Kill() error   { return each(c.Agents(), (*Agent).Kill) }
func (c *ConsulCluster) Start() error  { return each(c.Agents(), (*Agent).Start) }
func (c *ConsulCluster) Pause() error  { return each(c.Agents(), (*Agent).Pause) }
func (c *ConsulCluster) Resume() error { return each(c.Agents(), (*Agent).Resume) }

// Restart stops every agent and starts them on the same data and ports.
func (c *ConsulCluster) Restart() error {
	if err := c.Stop(); err != nil {
		return err
	}
	return c.Start()
}

// consulAgent is what the configuration template reads.
type consulAgent struct {
	Config          ConsulConfig
	Name, Data      string
	Token           string
	HTTP, RPC, Serf int
	Server          bool
	Peers           string // HCL list of the servers' gossip addresses
}

func (c *ConsulCluster) start(binary string) error {
	plans, err := c.plan()
	if err != nil {
		return err
	}
	for _, plan := range plans {
		if err := c.add(binary, plan); err != nil {
			return err
		}
	}
	for _, a := range c.Agents() {
		if err := a.spawn(); err != nil {
			return err
		}
	}
	return each(c.Agents(), (*Agent).waitReady)
}

func (c *ConsulCluster) plan() ([]consulAgent, error) {
	var plans []consulAgent
	var peers []string
	for i := range c.config.Servers + c.config.Clients {
		plan := consulAgent{
			Config: c.config,
			Name:   fmt.Sprintf("consul-server-%d", i+1),
			Server: i < c.config.Servers,
			Token:  c.Token,
		}
		if !plan.Server {
			plan.Name = fmt.Sprintf("consul-client-%d", i-c.config.Servers+1)
		}
		for _, port := range []*int{&plan.HTTP, &plan.RPC, &plan.Serf} {
			var err error
			if *port, err = c.ground.ports.take(); err != nil {
				return nil, err
			}
		}
		if plan.Server {
			peers = append(peers, loopback(plan.Serf))
		}
		plans = append(plans, plan)
	}
	for i := range plans {
		plans[i].Peers = hclList(peers)
	}
	return plans, nil
}

func (c *ConsulCluster) add(binary string, plan consulAgent) error {
	a, err := c.ground.newAgent(plan.Name, binary)
	if err != nil {
		return err
	}
	a.Address = "http://" + loopback(plan.HTTP)
	plan.Data = filepath.Join(a.Dir, "data")
	if plan.Server {
		c.Servers = append(c.Servers, a)
	} else {
		a.Group = nth(c.config.Group, len(c.Clients))
		c.Clients = append(c.Clients, a)
	}
	var text bytes.Buffer
	if err := consulTemplate.Execute(&text, plan); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", a.Name, err)
	}
	configDir := filepath.Join(a.Dir, "config")
	err = writeFiles(configDir, map[string]string{"1-base.hcl": text.String(), "2-extra.hcl": c.config.Extra})
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", a.Name, err)
	}
	a.args = []string{"agent", "-config-dir", configDir}
	a.ready = func(ctx context.Context) error {
		if err := retry(ctx, func(ctx context.Context) error { return c.checkLeader(ctx, a) }); err != nil {
			return err
		}
		return c.waitHealthy(ctx, a)
	}
	return nil
}

// checkLeader makes the agent read through a leader that has just proven to lead.
func (c *ConsulCluster) checkLeader(ctx context.Context, a *Agent) error {
	query := (&consulapi.QueryOptions{RequireConsistent: true}).WithContext(ctx)
	if _, _, err := c.ClientOf(a).KV().Get("testcluster", query); err != nil {
		return fmt.Errorf("read through the leader: %w", err)
	}
	return nil
}

// waitHealthy waits until the catalog holds the agent with a passing serfHealth
// check, without which no session can be made on it.
func (c *ConsulCluster) waitHealthy(ctx context.Context, a *Agent) error {
	query := (&consulapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(ctx)
	for {
		checks, meta, err := c.ClientOf(a).Health().Node(a.Name, query)
		if err != nil {
			return fmt.Errorf("read the health of %s: %w", a.Name, err)
		}
		for _, check := range checks {
			if check.CheckID == "serfHealth" && check.Status == consulapi.HealthPassing {
				return nil
			}
		}
		query.WaitIndex = meta.LastIndex
	}
}

// newUUID returns a random UUID, the form that Consul asks of a token.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
