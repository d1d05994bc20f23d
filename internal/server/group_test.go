// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// sharing is the configuration of a server that shares a Consul, and the prefix in it, with others. Nomad is not there.
func sharing(t *testing.T, prefix, name string) AgentConfig {
	t.Helper()
	c := config.DefaultConfig()
	c.Name, c.DataDir, c.HTTP.Bind = name, t.TempDir(), "127.0.0.1:0"
	c.Consul.Address, c.Consul.Prefix, c.Nomad.Address = cluster.Consul(t).Address(), prefix, "http://127.0.0.1:1"
	log := hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Info, Output: testWriter{t}})
	return AgentConfig{Config: c, Version: "test", Logger: log, Getenv: os.Getenv}
}

// await repeats a question until its answer is yes.
func await(t *testing.T, what string, yes func(context.Context) bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !yes(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not after %s", what, patience)
		}
	}
}

// led waits until a server says that somebody else than the one given leads, and returns who.
func led(t *testing.T, c *client.Client, than string) (leader api.Leader) {
	t.Helper()
	await(t, "another leader than "+than, func(ctx context.Context) bool {
		var err error
		leader, err = c.Leader(ctx)
		return err == nil && leader.Name != "" && leader.Name != than
	})
	return leader
}

// calm is a workflow that needs no worker.
const calm = `workflow "calm" {
  task "pause" {
    wait { duration = "1ms" }
  }
}
`

// Of two servers of one name the second is of no use to anybody, and does no harm, until the first is gone.
func TestAServerWaitsForAnotherOneOfItsName(t *testing.T) {
	t.Parallel()
	mine := fmt.Sprintf("%x", time.Now().UnixNano())
	first, stop := serving(t, sharing(t, "cairn-"+mine+"/", "twin-"+mine))
	if led(t, first, ""); t.Failed() {
		return
	}
	address := strings.TrimPrefix(first.Where(), "http://")
	said := &lockedText{}
	cfg := sharing(t, "cairn-"+mine+"/", "twin-"+mine)
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: said})
	second, _ := serving(t, cfg)
	await(t, "the second to say what is wrong", func(context.Context) bool {
		return strings.Contains(said.String(), "another server of this name answers at "+address)
	})
	registered := func(want string) func(ctx context.Context) bool {
		return func(ctx context.Context) bool {
			list, err := second.Members(ctx)
			return err == nil && len(list.Members) == 1 && list.Members[0].Address == want && list.Members[0].Leader
		}
	}
	if !registered(address)(within(t)) {
		t.Error("the first is not registered, or does not lead")
	}
	stop()
	await(t, "the second to be registered and to lead", registered(strings.TrimPrefix(second.Where(), "http://")))
}

// A server that was killed may come back at another address, and the one from before may be its own, too.
func TestAServerIsNoNamesakeOfItself(t *testing.T) {
	t.Parallel()
	mine := fmt.Sprintf("%x", time.Now().UnixNano())
	cfg := sharing(t, "cairn-"+mine+"/", "moved-"+mine)
	free, err := net.Listen("tcp", cfg.HTTP.Bind)
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.Bind = free.Addr().String()
	_, port, err := net.SplitHostPort(cfg.HTTP.Bind)
	if err := errors.Join(err, free.Close()); err != nil {
		t.Fatal(err)
	}
	cc := consul.DefaultConfig()
	cc.Address, cc.Prefix, cc.Name, cc.Logger = cfg.Consul.Address, cfg.Consul.Prefix, cfg.Name, cfg.Logger
	before := "localhost:" + port
	old, err := consul.NewService(cc, consul.ServiceConfig{Name: cfg.Name, Address: before, Health: "http://" + before + httpapi.HealthPath})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, _ := serving(t, cfg)
	if leader := led(t, c, ""); leader.Name != cfg.Name {
		t.Errorf("%+v leads", leader)
	}
}

// lockedText is a log that is written and read at the same time.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestServersSayWhoLeadsAndHandOver(t *testing.T) {
	t.Parallel()
	mine := fmt.Sprintf("%x", time.Now().UnixNano())
	prefix := "cairn-" + mine + "/"
	clients, stops := map[string]*client.Client{}, map[string]func(){}
	for i := range 3 {
		name := fmt.Sprintf("server-%d-%s", i+1, mine)
		clients[name], stops[name] = serving(t, sharing(t, prefix, name))
	}
	var first api.Leader
	for name, c := range clients {
		if leader := led(t, c, ""); first.Name == "" {
			first = leader
		} else if leader != first {
			t.Errorf("%s says that %+v leads, want %+v", name, leader, first)
		}
	}
	var follower string
	for name, c := range clients {
		if name != first.Name {
			follower = name
		}
		await(t, "all three to be registered", func(ctx context.Context) bool {
			list, err := c.Members(ctx)
			return err == nil && len(list.Members) == 3
		})
		list, err := c.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.Members {
			want := api.Member{
				Name: m.Name, Address: strings.TrimPrefix(clients[m.Name].Where(), "http://"), Version: "test", Format: consul.FormatVersion,
				Healthy: true, Leader: m.Name == first.Name, Answers: m.Name == name,
			}
			if m != want {
				t.Errorf("%s lists %+v, want %+v", name, m, want)
			}
		}
	}

	// What happens is heard through a server that does not lead, until another one leads.
	stream, err := clients[follower].Events(within(t), client.EventsQuery{Workflow: "calm"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := clients[follower].Submit(within(t), api.SubmitRequest{Files: []api.File{{Path: "calm.hcl", Bytes: []byte(calm)}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"queued", "running", "waiting", "succeeded", "succeeded"} {
		if e, err := stream.Next(); err != nil || e.Status != want || e.Workflow != "calm" {
			t.Fatalf("event %+v, %v; want one of calm that is %s", e, err, want)
		}
	}

	for name, wants := range map[string][]string{
		first.Name: {"cairn_leader 1", `cairn_consul_transactions_total{kind="write",outcome="ok"}`, `cairn_save_seconds_count{outcome="ok"}`,
			`cairn_http_requests_total{route="/v1/runs",status="200"} 1`, "cairn_news_readers 1", "cairn_watches 1"},
		follower: {"cairn_leader 0", "cairn_epoch 0", "cairn_forwarding 1", `cairn_forwards_total{outcome="answered"} 1`},
	} {
		text := metricsOf(t, clients[name].Where())
		for _, line := range wants {
			if !strings.Contains(text, "\n"+line) {
				t.Errorf("the metrics of %s have no line %s\n%s", name, line, text)
			}
		}
	}

	done, err := clients[follower].StepDown(within(t), api.StepDownRequest{By: "ada", Reason: "a test"})
	if err != nil || done.Leader == nil {
		t.Fatalf("%+v, %v", done, err)
	}
	if done.Name != first.Name || done.Epoch != first.Epoch || done.Leader.Name == first.Name || done.Leader.Epoch <= first.Epoch {
		t.Errorf("%+v and now %+v, want another leader after %+v", done, done.Leader, first)
	}
	if e, err := stream.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream gives %+v, %v; want a clean end", e, err)
	}
	again, err := clients[follower].Events(within(t), client.EventsQuery{After: stream.Last()})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if e, err := again.Next(); err != nil || e.Type != api.EventReset {
		t.Errorf("the next stream begins with %+v, %v; want a reset", e, err)
	}
	for name, c := range clients {
		if leader, err := c.Leader(t.Context()); err != nil || leader != *done.Leader {
			t.Errorf("%s says that %+v leads, %v; want %+v", name, leader, err, *done.Leader)
		}
		if _, err := c.Runs(within(t), client.RunsQuery{}); err != nil { // the leader answers for all
			t.Error(err)
		}
	}

	// One that is sick is listed, with the reason; it is of no help to a leader that steps down, and is not waited for.
	cc := consul.DefaultConfig()
	cc.Address, cc.Prefix = cluster.Consul(t).Address(), prefix
	sick, err := consul.NewService(cc, consul.ServiceConfig{
		Name: "sick-" + mine, Address: "127.0.0.1:1", Health: "http://127.0.0.1:1/", Version: "old",
	})
	if err == nil {
		err = sick.Register(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sick.Deregister(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for name, stop := range stops {
		if name != done.Leader.Name {
			stop()
		}
	}
	last := clients[done.Leader.Name]
	await(t, "the sick one to be known as sick", func(ctx context.Context) bool {
		list, err := last.Members(ctx)
		i := slices.IndexFunc(list.Members, func(m api.Member) bool { return m.Name == "sick-"+mine })
		return err == nil && i >= 0 && !list.Members[i].Healthy && strings.Contains(list.Members[i].Problem, "connection refused")
	})
	down, err := last.StepDown(within(t), api.StepDownRequest{})
	if err != nil || down.Leader == nil || down.Leader.Name != done.Leader.Name || down.Leader.Epoch <= done.Leader.Epoch {
		t.Errorf("the last one steps down: %+v and now %+v, %v; want it to lead again", down, down.Leader, err)
	}
}

func TestADevServerKnowsThatItIsAlone(t *testing.T) {
	c, _ := serving(t, devConfig(t, t.TempDir()))
	leader := led(t, c, "")
	list, err := c.Members(t.Context())
	if err != nil || len(list.Members) != 1 || !list.Members[0].Leader || list.Members[0].Name != leader.Name || leader.Epoch == 0 {
		t.Errorf("%+v leads %+v, %v", leader, list, err)
	}
	var said *api.Error
	if _, err := c.StepDown(t.Context(), api.StepDownRequest{}); !errors.As(err, &said) || said.Status != http.StatusConflict {
		t.Errorf("it steps down: %v", err)
	}
}
