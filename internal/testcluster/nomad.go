// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"text/template"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

//go:embed nomad.hcl.tmpl
var nomadConfigText string

var nomadTemplate = template.Must(template.New("nomad.hcl").Parse(nomadConfigText))

// NomadConfig says what Nomad to start. Its zero value is one server and one client
// without access control.
//
// No agent is both: after a restart of such an agent the client half asks before
// the server half has its keys, is refused, and tries again only after 15 to 30
// seconds (seen with 1.11.3).
type NomadConfig struct {
	Servers int // default 1
	Clients int // default 1

	MinHeartbeatTTL      time.Duration // default: Nomad's, 10s
	HeartbeatGrace       time.Duration // default: Nomad's, 10s
	FailoverHeartbeatTTL time.Duration // default: Nomad's, 5m

	ACL           bool   // bootstrap access control; the management token is NomadCluster.Token
	ConsulAddress string // host:port of a Consul agent to register with; default none
	// ClientConsul are the agents that the clients register with, one each; the servers then know no Consul.
	ClientConsul []string
	Group        uint32 // Agent.Group of the first client; the others have the next ones. 0 = none has one
	MaxAllocs    int    // finished allocations a client keeps before it collects; default 100000

	// ExtraServer and ExtraClient are more agent configuration in HCL, merged over
	// ours.
	ExtraServer string
	ExtraClient string
}

// NomadCluster is a running Nomad.
type NomadCluster struct {
	Servers []*Agent
	Clients []*Agent
	Token   string // management token, empty without ACL

	ground *ground
	config NomadConfig
}

// Nomad starts a Nomad for one test and removes it when the test ends; the test
// fails where the agents do not become ready.
func Nomad(tb testing.TB, config NomadConfig) *NomadCluster {
	tb.Helper()
	NomadBinary(tb)
	n, err := StartNomad(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeAfter(tb, n.ground) })
	return n
}

// StartNomad starts a Nomad and returns when it has a leader and all its clients
// are ready. The caller calls Close.
func StartNomad(config NomadConfig) (*NomadCluster, error) {
	config.Servers = cmp.Or(config.Servers, 1)
	config.Clients = cmp.Or(config.Clients, 1)
	config.MaxAllocs = cmp.Or(config.MaxAllocs, 100_000)
	binary, err := findBinary("nomad")
	if err != nil {
		return nil, err
	}
	g, err := newGround("")
	if err != nil {
		return nil, err
	}
	n := &NomadCluster{ground: g, config: config}
	if err := n.start(binary); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return n, nil
}

// Close ends all agents and their tasks and removes their files.
func (n *NomadCluster) Close() error { return n.ground.close() }

// Address returns the address of the first server's HTTP API.
func (n *NomadCluster) Address() string { return n.Servers[0].Address }

// Client returns a client of the first server, with the management token if there
// is one.
func (n *NomadCluster) Client() *nomadapi.Client { return n.ClientOf(n.Servers[0]) }

// ClientOf returns a client of one agent's HTTP API.
func (n *NomadCluster) ClientOf(a *Agent) *nomadapi.Client {
	// A configuration of its own, not DefaultConfig: that reads NOMAD_*.
	client, err := nomadapi.NewClient(&nomadapi.Config{Address: a.Address, SecretID: n.Token})
	if err != nil {
		panic(fmt.Sprintf("testcluster: client of %s: %v", a.Address, err)) // the address is ours
	}
	return client
}

// Agents returns every agent once, servers first.
func (n *NomadCluster) Agents() []*Agent { return n.ground.agents }

// Stop, Kill, Pause and Resume do to every agent what Agent's methods do to one.
func (n *NomadCluster) Stop() error   { return each(n.Agents(), (*Agent).Stop) }
func (n *NomadCluster) Kill() error   { return each(n.Agents(), (*Agent).Kill) }
func (n *NomadCluster) Pause() error  { return each(n.Agents(), (*Agent).Pause) }
func (n *NomadCluster) Resume() error { return each(n.Agents(), (*Agent).Resume) }

// Start starts every agent, the clients when there is a leader to register with.
func (n *NomadCluster) Start() error {
	if err := each(n.Servers, (*Agent).Start); err != nil {
		return err
	}
	return each(n.Clients, (*Agent).Start)
}

// Snapshot takes a snapshot of the servers' state, and returns what restores it.
func (n *NomadCluster) Snapshot(tb testing.TB) (restore func()) {
	tb.Helper()
	client := n.Client()
	defer client.Close()
	snapshot, err := client.Operator().Snapshot(nil)
	if err != nil {
		tb.Fatal(err)
	}
	archive, err := io.ReadAll(snapshot)
	if err := errors.Join(err, snapshot.Close()); err != nil {
		tb.Fatal(err)
	}
	return func() {
		tb.Helper()
		client := n.Client()
		defer client.Close()
		if _, err := client.Operator().SnapshotRestore(bytes.NewReader(archive), nil); err != nil {
			tb.Fatal(err)
		}
	}
}

// Restart stops every agent and starts them on the same data and ports.
func (n *NomadCluster) Restart() error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start()
}

// nomadAgent is what the configuration template reads.
type nomadAgent struct {
	Config          NomadConfig
	Name, Data      string
	HTTP, RPC, Serf int
	Server          bool
	Consul          string // host:port; empty: none
	SerfPeers       string // HCL lists of addresses
	Servers         string
}

func (n *NomadCluster) start(binary string) error {
	plans, err := n.plan()
	if err != nil {
		return err
	}
	for _, plan := range plans {
		if err := n.add(binary, plan); err != nil {
			return err
		}
	}
	if err := each(n.Servers, (*Agent).Start); err != nil {
		return err
	}
	first := n.Servers[0]
	if err := first.wait("the servers", n.checkPeers); err != nil {
		return err
	}
	if n.config.ACL {
		if err := first.wait("access control", n.bootstrapACL); err != nil {
			return err
		}
	}
	return each(n.Clients, (*Agent).Start)
}

// plan gives every agent its part and ports.
func (n *NomadCluster) plan() ([]nomadAgent, error) {
	var plans []nomadAgent
	var serf, rpc []string
	for i := range n.config.Servers + n.config.Clients {
		plan := nomadAgent{
			Config: n.config,
			Name:   fmt.Sprintf("nomad-server-%d", i+1),
			Server: i < n.config.Servers,
		}
		plan.Consul = n.config.ConsulAddress
		if client := i - n.config.Servers; client >= 0 {
			plan.Name = fmt.Sprintf("nomad-client-%d", client+1)
			if client < len(n.config.ClientConsul) {
				plan.Consul = n.config.ClientConsul[client]
			}
		}
		for _, port := range []*int{&plan.HTTP, &plan.RPC, &plan.Serf} {
			var err error
			if *port, err = n.ground.ports.take(); err != nil {
				return nil, err
			}
		}
		if plan.Server {
			serf = append(serf, loopback(plan.Serf))
			rpc = append(rpc, loopback(plan.RPC))
		}
		plans = append(plans, plan)
	}
	for i := range plans {
		plans[i].SerfPeers, plans[i].Servers = hclList(serf), hclList(rpc)
	}
	return plans, nil
}

func (n *NomadCluster) add(binary string, plan nomadAgent) error {
	a, err := n.ground.newAgent(plan.Name, binary)
	if err != nil {
		return err
	}
	a.Address = "http://" + loopback(plan.HTTP)
	plan.Data = filepath.Join(a.Dir, "data")
	var text bytes.Buffer
	if err := nomadTemplate.Execute(&text, plan); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", a.Name, err)
	}
	extra := n.config.ExtraClient
	a.ready = func(ctx context.Context) error { return n.waitClient(ctx, a) }
	if plan.Server {
		extra = n.config.ExtraServer
		a.ready = func(ctx context.Context) error { return n.checkServer(ctx, a) }
		n.Servers = append(n.Servers, a)
	} else {
		a.Group = nth(n.config.Group, len(n.Clients))
		n.Clients = append(n.Clients, a)
	}
	configDir := filepath.Join(a.Dir, "config")
	err = writeFiles(configDir, map[string]string{"1-base.hcl": text.String(), "2-extra.hcl": extra})
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", a.Name, err)
	}
	a.args = []string{"agent", "-config", configDir}
	return nil
}

func (n *NomadCluster) bootstrapACL(ctx context.Context) error {
	token, _, err := n.Client().ACLTokens().Bootstrap((&nomadapi.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	n.Token = token.SecretID
	return nil
}

// checkServer asks a server whether it knows a leader.
func (n *NomadCluster) checkServer(ctx context.Context, a *Agent) error {
	var leader string
	if err := n.query(ctx, a, "/v1/status/leader", &leader); err != nil {
		return fmt.Errorf("ask for the leader: %w", err)
	}
	if leader == "" {
		return errors.New("no leader yet")
	}
	return nil
}

// checkPeers asks the first server whether all servers vote.
func (n *NomadCluster) checkPeers(ctx context.Context) error {
	var peers []string
	if err := n.query(ctx, n.Servers[0], "/v1/status/peers", &peers); err != nil {
		return fmt.Errorf("list the servers: %w", err)
	}
	if len(peers) < n.config.Servers {
		return fmt.Errorf("%d of %d servers have joined", len(peers), n.config.Servers)
	}
	return nil
}

// query reads a path that the api package offers without a context.
func (n *NomadCluster) query(ctx context.Context, a *Agent, path string, out any) error {
	client := n.ClientOf(a)
	defer client.Close() // a wait asks hundreds of times, and an agent takes 100 connections
	_, err := client.Raw().Query(path, out, (&nomadapi.QueryOptions{}).WithContext(ctx))
	return err
}

// waitClient waits until this life of the client has spoken to a server, then until
// the server calls the node ready and raw_exec healthy. The server's word alone may
// still be about the life before a restart.
func (n *NomadCluster) waitClient(ctx context.Context, a *Agent) error {
	var self nomadapi.AgentSelf
	if err := n.query(ctx, a, "/v1/agent/self", &self); err != nil {
		return fmt.Errorf("ask the client for its state: %w", err)
	}
	if self.Stats["client"]["heartbeat_ttl"] == "0s" {
		return errors.New("the client has not spoken to a server yet")
	}
	nodes := n.Client().Nodes()
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(ctx)
	for {
		list, meta, err := nodes.List(query)
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		for _, node := range list {
			driver := node.Drivers["raw_exec"]
			if node.Name == a.Name && node.Status == nomadapi.NodeStatusReady && driver != nil && driver.Healthy {
				return nil
			}
		}
		query.WaitIndex = meta.LastIndex
	}
}
