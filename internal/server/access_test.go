// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/workflow"
)

// wandering is a workflow whose task comes to name its namespace only when it runs.
const wandering = `workflow "wandering" {
  namespace = "team"
  param "ns" {
    type = string
  }
  task "go" {
    driver    = "raw_exec"
    namespace = param.ns
    config { command = "/bin/true" }
  }
}
`

// pair are two servers that share a store, with access control and mTLS.
type pair struct {
	*guarded
	authority *authority
	agents    map[string]*Agent // by name
	names     []string
	prefix    string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{guarded: newGuarded(t), authority: newAuthority(t, "ours"), agents: map[string]*Agent{}}
	for range 2 {
		cfg := p.config(p.nomads, p.keeps)
		cfg.TLS, cfg.Access.OperatorPolicy = p.authority.serves(true), "operators"
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: testWriter{t}})
		if p.prefix == "" {
			p.prefix = cfg.Consul.Prefix
		}
		cfg.Consul.Prefix = p.prefix
		p.agents[cfg.Name], p.names = running(t, cfg), append(p.names, cfg.Name)
	}
	return p
}

// as is a client of one of the servers that presents a token.
func (p *pair) as(server, token string) *client.Client {
	p.t.Helper()
	cert, key := p.authority.issue("caller")
	c, err := client.TCP(client.Server{
		Address: p.agents[server].URL(), Token: token, CACert: p.authority.file, ClientCert: cert, ClientKey: key,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// persist asks again until it is content, or the test's patience ends.
func persist(t *testing.T, what string, content func(context.Context) error) {
	t.Helper()
	ctx := within(t)
	for {
		err := content(ctx)
		if err == nil {
			return
		}
		pause := time.NewTimer(50 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// leader waits until one of the servers leads, and names it and the other one.
func (p *pair) leader() (leader, follower string) {
	p.t.Helper()
	persist(p.t, "a leader", func(ctx context.Context) error {
		said, err := p.as(p.names[0], "").Leader(ctx)
		if err == nil && p.agents[said.Name] == nil {
			err = errors.New("nobody leads")
		}
		leader = said.Name
		return err
	})
	return leader, p.names[map[bool]int{true: 1, false: 0}[leader == p.names[0]]]
}

func refusal(err error) string {
	var said *api.Error
	if errors.As(err, &said) {
		return fmt.Sprintf("%d %s", said.Status, said.Message)
	}
	return fmt.Sprint(err)
}

func TestCallersOfServersDoWhatTheirTokensMay(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	writer := p.nomad.NewToken(t, "writer", `namespace "team" { policy = "write" }`)
	reader := p.nomad.NewToken(t, "reader", `namespace "team" { policy = "read" }`)
	other := p.nomad.NewToken(t, "other", `namespace "default" { policy = "write" }`)
	operator := p.nomad.NewToken(t, "operators", `node { policy = "read" }`)
	const wrong = "00000000-0000-0000-0000-000000000000"
	leader, follower := p.leader()

	// What is asked of a server that does not lead is asked with the caller's own token.
	entry, err := submitted(within(t), p.as(follower, writer), endless)
	if err != nil {
		t.Fatal(err)
	}
	show := func(c *client.Client) error { _, err := c.Run(within(t), entry.ID); return err }
	stop := func(c *client.Client) error {
		_, err := c.Verb(within(t), entry.ID, api.VerbStop, api.VerbRequest{By: "somebody else"})
		return err
	}
	submit := func(c *client.Client) error { _, err := submitted(within(t), c, proof); return err }
	list := func(want int) func(*client.Client) error {
		return func(c *client.Client) error {
			page, err := c.Runs(within(t), client.RunsQuery{})
			if err == nil && len(page.Runs) != want {
				err = fmt.Errorf("%d runs are listed, want %d", len(page.Runs), want)
			}
			return err
		}
	}
	members := func(c *client.Client) error { _, err := c.Members(within(t)); return err }
	for _, c := range []struct {
		who   string
		token string
		what  string
		do    func(*client.Client) error
		words string // of the refusal; empty: it is done
	}{
		{"reader", reader, "shows", show, ""},
		{"reader", reader, "lists", list(1), ""},
		{"reader", reader, "stops", stop, `403 token "reader" may not run jobs in namespace team`},
		{"reader", reader, "submits", submit, `403 token "reader" may not run jobs in namespace team`},
		{"other", other, "shows", show, "404 there is no run " + entry.ID},
		{"other", other, "stops", stop, "404 there is no run " + entry.ID},
		{"other", other, "lists", list(0), ""},
		{"other", other, "submits", submit, `403 token "other" may not run jobs in namespace team`},
		{"nobody", "", "shows", show, "403 this takes a token of Nomad"},
		{"nobody", "", "lists", list(0), "403 this takes a token of Nomad"},
		{"a wrong token", wrong, "shows", show, "403 Nomad does not know this token"},
		{"a wrong token", wrong, "submits", submit, "403 Nomad does not know this token"},
		{"no token at all", "hello", "lists", list(0), "403 Nomad does not know this token"},
		{"management", p.nomad.Token, "shows", show, ""},
		{"management", p.nomad.Token, "asks who is there", members, ""},
		{"operator", operator, "asks who is there", members, ""},
		{"writer", writer, "reads the audit", func(c *client.Client) error { _, err := c.Audit(within(t), ""); return err }, "403"},
		{"operator", operator, "shows", show, "404 there is no run"},
		{"writer", writer, "asks who is there", members, `403 token "writer" may not do this: it takes a management token, or one with the policy operators`},
	} {
		for _, at := range []string{leader, follower} {
			err := c.do(p.as(at, c.token))
			if c.words == "" && err != nil || c.words != "" && !strings.HasPrefix(refusal(err), c.words) {
				t.Errorf("%s %s at %s: %s, want %q", c.who, c.what, at, refusal(err), c.words)
			}
		}
	}
	if err := stop(p.as(follower, writer)); err != nil {
		t.Errorf("the writer cannot stop its run: %v", err)
	}
	if run, err := follow(within(t), p.as(leader, reader), workflow.RunID(entry.ID)); err != nil || run.Status != "cancelled" {
		t.Errorf("the run that was stopped: %+v, %v", run, err)
	}

	// A task lands where whoever submitted it may not run jobs, or may and did not say so: it does not start.
	wanders, err := p.as(leader, writer).Submit(within(t), api.SubmitRequest{
		Files: []api.File{{Path: "a.hcl", Bytes: []byte(wandering)}}, ParamTexts: map[string]string{"ns": "default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := follow(within(t), p.as(leader, writer), workflow.RunID(wanders.ID))
	if err != nil {
		t.Fatal(err)
	}
	attempt := run.Tasks[0].Instances[0].Attempts[0]
	if run.Status != "failed" || attempt.Verdict != "error" || !strings.Contains(attempt.Message, "in namespace default of Nomad, and this run is held to team") {
		t.Errorf("the run that wanders is %s: %+v", run.Status, attempt)
	}

	// The audit knows who it was, whatever the request said, and by whom it was passed on. What was refused is not in it.
	want := []string{"writer submit endless done passed on", "writer stop endless done passed on", "writer submit wandering done"}
	persist(t, "the audit", func(context.Context) error { // its last word comes after the answer
		var got []string
		kept, err := p.as(leader, operator).Audit(within(t), "")
		if err != nil {
			return err
		}
		for _, r := range kept.Records {
			words := fmt.Sprintf("%s %s %s %s", r.Who, r.Action, r.Workflow, r.Outcome)
			if strings.HasPrefix(r.From, "127.0.0.1 by 127.0.0.1") {
				words += " passed on"
			}
			if r.Accessor == "" || r.Run == "" || strings.Contains(fmt.Sprint(r), writer) {
				t.Errorf("record %+v", r)
			}
			got = append(got, words)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})

	// Consul asks for the health over TLS, without a certificate. The agent knows at once what a check says.
	agent := p.consul.Client().Agent()
	persist(t, "Consul's checks", func(context.Context) error {
		checks, err := agent.Checks()
		passing := 0
		for id, check := range checks {
			if strings.HasPrefix(id, "cairn-") && strings.Contains(check.Output, "200 OK") {
				passing++
			}
		}
		if err == nil && passing != 4 {
			err = fmt.Errorf("%d checks have an answer, want 4 of %v", passing, checks)
		}
		return err
	})
	if done, err := p.as(follower, operator).StepDown(within(t), api.StepDownRequest{Reason: "to see"}); err != nil || done.Name != leader {
		t.Errorf("step-down: %+v, %v", done, err)
	}
	if _, err := p.as(follower, writer).StepDown(within(t), api.StepDownRequest{}); !strings.HasPrefix(refusal(err), "403") {
		t.Errorf("a step-down by somebody: %v", err)
	}
	if err := show(p.as(leader, reader)); err != nil {
		t.Errorf("after the leader has changed: %v", err)
	}
}
