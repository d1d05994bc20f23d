// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// A worker whose Nomad client has an agent of Consul of its own, as the machines of services have.
func TestAgentsAWorkerIsSeenByNomadAndConsul(t *testing.T) {
	t.Parallel()
	consul := testcluster.Consul(t, testcluster.ConsulConfig{Clients: 1})
	nomad := testcluster.Nomad(t, testcluster.NomadConfig{
		ConsulAddress: strings.TrimPrefix(consul.Clients[0].Address, "http://"), HeartbeatGrace: 5 * time.Minute,
	})
	cfg := sharing(t, "cairn/", fmt.Sprintf("server-%x", time.Now().UnixNano()))
	cfg.Config.Consul.Address, cfg.Config.Nomad.Address = consul.Address(), nomad.Address()
	c, _ := serving(t, cfg)
	var last api.Workers
	seen := func(status string) api.Worker {
		t.Helper()
		await(t, "a worker that is "+status, func(ctx context.Context) bool {
			known, err := c.Workers(ctx)
			if err != nil {
				return false
			}
			last = known
			return len(known.Workers) == 1 && known.Workers[0].Status == status && known.Workers[0].Consul != nil && known.Trouble == ""
		})
		if last.Withheld != "" {
			t.Errorf("one worker is not too many: %s", last.Withheld)
		}
		return last.Workers[0]
	}

	led(t, c, "")
	entry, err := submitted(within(t), c, strings.Replace(endless, `namespace = "team"`, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := begunOn(within(t), c, entry.ID); err != nil {
		t.Fatal(err)
	}
	var w api.Worker
	await(t, "Consul to have checked the client", func(context.Context) bool {
		w = seen("ready")
		return w.Consul.Client == "passing"
	})
	if w.Consul.Alive != "passing" || w.Nomad != "ready" || !w.Eligible || w.Draining || w.Pool != "default" || w.Reason != "Nomad and Consul have it" {
		t.Errorf("a worker that is well: %+v, %+v", w, w.Consul)
	}
	if len(w.Attempts) != 1 || w.Attempts[0].Run != entry.ID || w.Attempts[0].Task != "sleep" || w.Attempts[0].AllocID == "" || w.Attempts[0].Key != nil {
		t.Errorf("on it runs %+v, want the task sleep of %s", w.Attempts, entry.ID)
	}

	found, err := c.Check(within(t))
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]string{}
	for _, f := range found.Findings {
		levels[f.About+" "+f.Subject] = f.Level
	}
	for about, want := range map[string]string{
		"nomad agent": "ok", "nomad heartbeats": "warn", "nomad failover": "warn", "consul agent": "ok", "consul value": "ok",
		"consul transaction": "ok", "clocks Nomad's agent": "ok", "workers " + w.Name: "ok",
	} {
		if levels[about] != want {
			t.Errorf("%s is %s, want %s: %+v", about, levels[about], want, found.Findings)
		}
	}

	operator := nomad.Client()
	defer operator.Close()
	for _, step := range []struct {
		eligible bool
		status   string
	}{{false, "ineligible"}, {true, "ready"}} {
		if _, err := operator.Nodes().ToggleEligibility(w.ID, step.eligible, nil); err != nil {
			t.Fatal(err)
		}
		seen(step.status)
	}

	if err := nomad.Clients[0].Pause(); err != nil {
		t.Fatal(err)
	}
	w = seen("client_down")
	if err := nomad.Clients[0].Resume(); err != nil {
		t.Fatal(err)
	}
	if w.Consul.Alive != "passing" || w.Consul.Client != "critical" || w.Nomad != "ready" || !strings.Contains(w.Reason, "tasks usually run on") {
		t.Errorf("a worker whose client is stopped: %+v, %+v", w, w.Consul)
	}
	seen("ready")

	if err := consul.Clients[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if w = seen("suspect"); w.Consul.Alive != "critical" || w.Nomad != "ready" || len(w.Attempts) != 1 {
		t.Errorf("a worker that Consul has lost: %+v, %+v", w, w.Consul)
	}
	if _, err := c.Verb(within(t), entry.ID, api.VerbStop, api.VerbRequest{}); err != nil {
		t.Fatal(err)
	}
	if run, err := follow(within(t), c, workflow.RunID(entry.ID)); err != nil || run.Status != "cancelled" {
		t.Errorf("the run ended %+v, %v", run, err)
	}
	if w = seen("suspect"); len(w.Attempts) != 0 {
		t.Errorf("after the end of the run %+v are on it", w.Attempts)
	}
}
