// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// guarded are a Nomad and a Consul with access control, with a namespace team and a job to dispatch in it.
type guarded struct {
	t      *testing.T
	nomad  *testcluster.NomadCluster
	consul *testcluster.ConsulCluster
	nomads string // rules of the policy of servers
	keeps  string
	n      int
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{
		t: t, consul: testcluster.Consul(t, testcluster.ConsulConfig{ACL: true}),
		nomads: readPolicy(t, "nomad.hcl"), keeps: readPolicy(t, "consul.hcl"),
	}
	token := fmt.Sprintf("consul {\n  token = %q\n}\n", g.consul.Token)
	g.nomad = testcluster.Nomad(t, testcluster.NomadConfig{
		ACL: true, ConsulAddress: strings.TrimPrefix(g.consul.Address(), "http://"), ExtraServer: token, ExtraClient: token,
	})
	keeper := g.consul.Client()
	await(t, "Consul to know of Nomad's client", func(context.Context) bool {
		list, _, err := keeper.Health().Checks(consul.NomadClient, nil)
		return err == nil && len(list) == 1
	})
	g.nomad.NewNamespace(t, "team")
	client := g.nomad.Client()
	defer client.Close()
	if _, err := client.Raw().Write("/v1/jobs", map[string]any{"Job": map[string]any{
		"ID": "sent", "Namespace": "team", "Type": "batch", "Datacenters": []string{"*"}, "ParameterizedJob": map[string]any{"Payload": "optional"},
		"TaskGroups": []any{map[string]any{"Name": "g", "Count": 1, "Tasks": []any{map[string]any{
			"Name": "t", "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/true"},
		}}}},
	}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	return g
}

func readPolicy(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "jobs", "policies", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// config is that of a server with tokens that have just these rules.
func (g *guarded) config(nomads, keeps string) AgentConfig {
	g.t.Helper()
	g.n++
	name := fmt.Sprintf("server-%d", g.n)
	dir := g.t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			g.t.Fatal(err)
		}
		return path
	}
	c := config.DefaultConfig()
	c.Name, c.DataDir, c.HTTP.Bind, c.Access.Mode = name, filepath.Join(dir, "data"), "127.0.0.1:0", config.AccessNomad
	c.Nomad.Address, c.Nomad.TokenFile = g.nomad.Address(), file("nomad", g.nomad.NewToken(g.t, name, nomads))
	c.Consul.Address, c.Consul.TokenFile = g.consul.Address(), file("consul", g.consul.NewToken(g.t, name, keeps))
	c.Consul.Prefix, c.Backup.Enabled = fmt.Sprintf("cairn/%d/", g.n), false // that takes more
	return AgentConfig{Config: c, Version: "test", Logger: hclog.NewNullLogger(), Getenv: func(string) string { return "" }}
}

// ear hears in a log that something was denied.
type ear struct {
	mu   sync.Mutex
	said string
	hear context.CancelFunc
}

func (e *ear) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if denies(string(b)) && e.said == "" {
		e.said = string(b)
		e.hear()
	}
	return len(b), nil
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.said
}

func denies(text string) bool {
	return strings.Contains(text, "Permission denied") || strings.Contains(text, "answered 403") || strings.Contains(text, "code: 403")
}

const proof = `workflow "proof" {
  namespace = "team"
  task "work" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo n=7 >> $CAIRN_OUTPUT; echo from the log"]
    }
    output "n" { type = number }
  }
  task "sent" {
    depends_on = [task.work]
    dispatch {
      job = "sent"
    }
  }
  output "n" { value = task.work.output.n }
}
`

const endless = `workflow "endless" {
  namespace = "team"
  task "sleep" {
    driver = "raw_exec"
    config {
      command = "/bin/sleep"
      args    = ["1h"]
    }
  }
}
`

// works has a server do everything it needs tokens for. It returns what was denied, or empty.
func (g *guarded) works(cfg AgentConfig) (denied string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	listening := &ear{hear: cancel}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: listening})
	a, err := NewAgent(ctx, cfg)
	if err == nil {
		running, stop := context.WithCancel(g.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(running) }()
		err = g.steps(ctx, a, cfg)
		stop()
		if end := <-ended; end != nil && err == nil && listening.heard() == "" {
			g.t.Errorf("the server ended with %v", end)
		}
	}
	switch {
	case listening.heard() != "":
		return listening.heard()
	case err != nil && (denies(err.Error()) || strings.Contains(err.Error(), "nobody sees")):
		return err.Error()
	case err != nil:
		g.t.Errorf("broke without a word of what was denied: %v", err)
		return err.Error()
	}
	return ""
}

func (g *guarded) steps(ctx context.Context, a *Agent, cfg AgentConfig) error {
	c, err := client.TCP(client.Server{Address: a.URL(), Token: g.nomad.Token})
	if err != nil {
		return err
	}
	defer c.Close()
	// It leads.
	entry, err := submitted(ctx, c, proof)
	if err != nil {
		return err
	}
	run, err := follow(ctx, c, workflow.RunID(entry.ID))
	if err != nil {
		return err
	}
	if run.Status != "succeeded" || string(run.Outputs["n"]) != "7" {
		return fmt.Errorf("the run is %s with outputs %s: %s", run.Status, run.Outputs, run.Reason)
	}
	log, err := c.Logs(ctx, entry.ID, api.LogQuery{Task: "work"})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(log)
	if err := errors.Join(err, log.Close()); err != nil {
		return err
	}
	if string(text) != "from the log\n" {
		return fmt.Errorf("the log says %q", text)
	}
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	if len(members.Members) == 0 {
		return errors.New("nobody sees this server")
	}
	workers, err := c.Workers(ctx)
	if err != nil {
		return err
	}
	if len(workers.Workers) != 1 || workers.Workers[0].Nomad != "ready" {
		return fmt.Errorf("the workers are %+v", workers.Workers)
	}
	if h := workers.Workers[0].Consul; h == nil || h.Alive == "" || h.Client == "" {
		return fmt.Errorf("nobody sees how the worker is: Consul says %+v", h)
	}
	// It stops what runs.
	if entry, err = submitted(ctx, c, endless); err != nil {
		return err
	}
	if err := begunOn(ctx, c, entry.ID); err != nil {
		return err
	}
	// It asks workers what runs.
	if run, err = c.Run(ctx, entry.ID); err != nil {
		return err
	}
	token, err := readToken(cfg.Nomad.TokenFile)
	if err != nil {
		return err
	}
	own := g.nomad.Client()
	defer own.Close()
	own.SetSecretID(token)
	tried := run.Tasks[0].Instances[0].Attempts[0]
	if _, err := own.Raw().Write("/v1/client/allocation/"+tried.AllocID+"/signal?namespace=team", map[string]string{"Signal": "SIGNULL"}, nil, nil); err != nil {
		return err
	}
	if _, err := c.Verb(ctx, entry.ID, api.VerbStop, api.VerbRequest{}); err != nil {
		return err
	}
	if run, err = follow(ctx, c, workflow.RunID(entry.ID)); err != nil || run.Status != "cancelled" {
		return fmt.Errorf("the stopped run is %+v, %w", run, err)
	}
	// It sweeps and purges.
	id, err := os.ReadFile(filepath.Join(cfg.DataDir, clusterFile))
	if err != nil {
		return err
	}
	e, err := a.newNomad(strings.TrimSpace(string(id)), nil)
	if err != nil {
		return err
	}
	if _, err := e.Sweep(ctx, func(workflow.AttemptID) nomad.Fate { return nomad.FateOver }); err != nil {
		return err
	}
	_, err = own.Raw().Delete("/v1/job/"+tried.JobID+"?purge=true&namespace=team", nil, nil)
	return err
}

func submitted(ctx context.Context, c *client.Client, text string) (entry api.RunEntry, err error) {
	for {
		entry, err = c.Submit(ctx, api.SubmitRequest{Files: []api.File{{Path: "a.hcl", Bytes: []byte(text)}}, Key: "once-" + fmt.Sprint(len(text))})
		var said *api.Error
		if !errors.As(err, &said) || said.Code != api.CodeNotReady || ctx.Err() != nil {
			return entry, err
		}
	}
}

// begunOn waits until the only task of a run runs.
func begunOn(ctx context.Context, c *client.Client, id string) error {
	var index uint64
	for {
		run, next, err := c.Wait(ctx, id, index, 10*time.Second)
		switch {
		case err != nil:
			return err
		case run.Terminal():
			return fmt.Errorf("run %s is %s already: %s", id, run.Status, run.Reason)
		case run.Tasks[0].Status == "running":
			return nil
		}
		index = next
	}
}

// without takes a rule, or one line of one, out of a policy.
func without(t *testing.T, policy, from, to string) string {
	t.Helper()
	start := strings.Index(policy, from)
	if start < 0 {
		t.Fatalf("the policy has no %q", from)
	}
	end := strings.Index(policy[start:], to)
	return policy[:start] + policy[start+end+len(to):]
}

// The policies that jobs/README.md gives to servers are enough, and nothing in them can be left out, but what is said of
// Nomad's nodes: that is for losses.
func TestServersNeedExactlyTheirPolicies(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if denied := g.works(g.config(g.nomads, g.keeps)); denied != "" {
		t.Fatalf("with the policies as they are: %s", denied)
	}
	for _, line := range []string{"list-jobs", "read-job", "submit-job", "dispatch-job", "read-fs", "alloc-lifecycle"} {
		if denied := g.works(g.config(without(t, g.nomads, `"`+line+`"`, "\n"), g.keeps)); denied == "" {
			t.Errorf("%s can be left out of the policy for Nomad", line)
		} else {
			t.Logf("without %s: %s", line, denied)
		}
	}
	for _, rule := range []string{"key_prefix", "session_prefix", `service "cairn"`, "node_prefix", `service "nomad-client"`} {
		if denied := g.works(g.config(g.nomads, without(t, g.keeps, "\n"+rule+" ", "\n}\n"))); denied == "" {
			t.Errorf("%s can be left out of the policy for Consul", rule)
		} else {
			t.Logf("without %s: %s", rule, denied)
		}
	}
}
