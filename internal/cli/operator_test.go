// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// answering is a server that answers paths with documents; what is an *api.Error answers as such.
func answering(t *testing.T, answers map[string]any) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, ok := answers[r.Method+" "+r.URL.Path]
		if !ok && r.URL.Path == "/v1/agent/health" {
			doc, ok = api.Health{Healthy: true, PID: 1, Version: "1.0.0"}, true
		}
		if !ok {
			t.Errorf("nobody expected %s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		if e, is := doc.(*api.Error); is {
			w.WriteHeader(e.Status)
		}
		if err := json.NewEncoder(w).Encode(doc); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAnOperatorSeesTheServersAndHasThemHandOver(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	two := api.Leader{Name: "cairn-2", URL: "http://10.0.0.2:4680", Epoch: 8}
	s.say("operator", "leader") // nobody said which server
	for _, answers := range []map[string]any{
		{
			"GET /v1/status/leader": api.Leader{Name: "cairn-1", URL: "http://10.0.0.1:4680", Epoch: 7},
			"GET /v1/operator/members": api.Members{Members: []api.Member{
				{Name: "cairn-1", Address: "10.0.0.1:4680", Version: "1.0.0", Format: 1, Healthy: true, Leader: true},
				{Name: "cairn-2", Address: "10.0.0.2:4680", Version: "1.0.0", Format: 1, Healthy: true, Answers: true},
				{Name: "cairn-3", Address: "10.0.0.3:4680", Version: "0.9.0", Problem: `check "Cairn's API answers" is critical: connection refused`},
			}},
			"POST /v1/operator/step-down": api.SteppedDown{Name: "cairn-1", Epoch: 7, Leader: &two},
		},
		{
			"GET /v1/status/leader":       api.Leader{Epoch: 8},
			"GET /v1/operator/members":    api.Members{Members: []api.Member{}},
			"POST /v1/operator/step-down": api.SteppedDown{Name: "cairn-2", Epoch: 7, Leader: &two},
		},
		{
			"GET /v1/status/leader": &api.Error{Status: 503, Code: api.CodeNotReady, Message: "who leads: Consul does not answer"},
			"GET /v1/operator/members": api.Members{Members: []api.Member{
				{Name: "laptop", Address: "127.0.0.1:4680", Version: "1.0.0", Healthy: true, Leader: true, Answers: true}}},
			"POST /v1/operator/step-down": &api.Error{
				Status: 409, Code: api.CodeConflict, Message: "this server runs with -dev: there is no other one that could lead"},
		},
		{"POST /v1/operator/step-down": api.SteppedDown{Name: "cairn-1", Epoch: 7}},
	} {
		c.env["CAIRN_ADDR"] = answering(t, answers)
		if len(answers) > 1 {
			for _, args := range [][]string{
				{"operator", "leader"}, {"operator", "leader", "-json"}, {"operator", "members"}, {"operator", "members", "-json"},
			} {
				s.say(args...)
			}
		}
		s.say("operator", "step-down", "-reason", "new disks")
		s.say("operator", "step-down", "-json")
	}
	golden(t, "operator.txt", s.String())
}

func TestAnOperatorSeesWhoChangedWhat(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	at := time.Date(2026, 11, 28, 13, 19, 14, 0, time.UTC)
	for _, answer := range []any{
		api.Audit{Day: "2026-11-28", Records: []api.AuditRecord{
			{ID: "1", At: at, Who: "ada", Accessor: "3d046fe0", From: "10.0.0.9 by 10.0.0.5", Action: "submit", Run: "2al46nuk", Workflow: "orders", Outcome: "done"},
			{ID: "2", At: at.Add(time.Minute), Accessor: "d20aa905", From: "10.0.0.9", Action: "stop", Run: "2al46nuk", Workflow: "orders", Outcome: "conflict"},
			{ID: "3", At: at.Add(time.Hour), Who: "bob", From: "10.0.0.9", Action: "step-down"},
		}},
		api.Audit{Day: "2026-11-28", Records: []api.AuditRecord{}},
		&api.Error{Status: 403, Code: api.CodeForbidden, Message: `token "bob" may not do this: it takes a management token`},
		&api.Error{Status: 400, Code: api.CodeBadRequest, Message: "day=2026-11-28: want a day such as 2006-01-02"},
	} {
		c.env["CAIRN_ADDR"] = answering(t, map[string]any{"GET /v1/operator/audit": answer})
		s.say("operator", "audit", "-day", "2026-11-28")
		s.say("operator", "audit", "-json")
	}
	golden(t, "audit.txt", s.String())
}

func TestAnOperatorSeesHowTheWorkersAre(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	node := func(n string) string { return n + n + n + n + "-0000-0000-0000-000000000000" }
	eu := "eu"
	known := api.Workers{Workers: []api.Worker{
		{
			ID: node("1a"), Name: "worker-1", Datacenter: "dc1", Pool: "default", Version: "1.11.3", Status: "ready", Reason: "Nomad and Consul have it",
			Nomad: "ready", Eligible: true, Consul: &api.WorkerHealth{Datacenter: "dc1", Machine: "machine-1", Alive: "passing", Client: "passing"},
			Attempts: []api.WorkerAttempt{
				{Run: "2al46nuk", Task: "load", Attempt: "2al46nuk-0000-000000-001", AllocID: "9f6e5a1c-1111-2222-3333-444444444444"},
				{Run: "2al46nuk", Task: "copy", Key: &eu, Attempt: "2al46nuk-0001-000000-002", AllocID: "0b7d2c4e-1111-2222-3333-444444444444"},
			},
		},
		{
			ID: node("2b"), Name: "worker-2", Datacenter: "dc1", Pool: "default", Version: "1.11.3", Status: "draining", Reason: "it is being drained",
			Nomad: "ready", Draining: true, Consul: &api.WorkerHealth{Datacenter: "dc1", Machine: "machine-2", Alive: "passing"}, Attempts: []api.WorkerAttempt{},
		},
		{
			ID: node("3c"), Name: "worker-3", Datacenter: "dc2", Pool: "gpu", Version: "1.10.2", Status: "suspect", Nomad: "ready", Eligible: true,
			Reason: "Consul has lost the machine (Agent not live or unreachable); Nomad has its heartbeats still",
			Consul: &api.WorkerHealth{Datacenter: "dc1", Machine: "machine-3", Alive: "critical", Client: "passing"}, Attempts: []api.WorkerAttempt{},
		},
		{ID: node("4d"), Name: "worker-4", Status: "lost", Reason: "Nomad calls it down", Nomad: "down", Attempts: []api.WorkerAttempt{}},
	}}
	held := known
	held.Withheld = "Consul has lost 2 of the 3 workers that it knows at once: that is rather the network, or Consul itself"
	held.Trouble = "ask Nomad for the nodes of west: no answer from Nomad within 15s"
	for _, answer := range []any{
		known, held, api.Workers{Workers: []api.Worker{}},
		&api.Error{Status: 404, Code: api.CodeNotFound, Message: "this server runs with -dev: it runs tasks itself, and has no workers"},
	} {
		c.env["CAIRN_ADDR"] = answering(t, map[string]any{"GET /v1/operator/workers": answer})
		s.say("operator", "workers")
		s.say("operator", "workers", "worker-1")
		s.say("operator", "workers", "-json", "3c3c")
	}
	s.say("operator", "workers", "one", "two")
	golden(t, "operator_workers.txt", s.String())
}

func TestAnOperatorChecksTheSetUp(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	well := api.Checkup{Findings: []api.Finding{
		{Level: "ok", About: "nomad", Subject: "agent", Finding: "it is 1.11.3"},
		{Level: "unknown", About: "consul", Subject: "agent", Finding: "ask Consul's agent: 403", Advice: `give the servers' Consul policy agent_prefix "" { policy = "read" }`},
		{Level: "warn", About: "nomad", Subject: "failover", Finding: "noticed only after 5m0s", Advice: `server { failover_heartbeat_ttl = "1m" }`},
	}}
	bad := api.Checkup{Findings: append(well.Findings[:3:3], api.Finding{
		Level: "fail", About: "workers", Subject: "all", Finding: "there are none: nothing can run", Advice: "start a Nomad client"})}
	for _, answer := range []any{
		well, bad,
		&api.Error{Status: 404, Code: api.CodeNotFound, Message: "this server runs with -dev: it depends on no Nomad and no Consul that could be looked at"},
	} {
		c.env["CAIRN_ADDR"] = answering(t, map[string]any{"GET /v1/operator/check": answer})
		s.say("operator", "check")
		s.say("operator", "check", "-json")
	}
	golden(t, "operator_check.txt", s.String())
}

func TestAnOperatorDeclaresAWorkerDead(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	eu := "eu"
	for _, answer := range []any{
		api.WorkerDead{ID: "3c3c3c3c-0000-0000-0000-000000000000", Name: "worker-3", Attempts: []api.WorkerAttempt{
			{Run: "2al46nuk", Task: "load", Attempt: "2al46nuk-0000-000000-001", AllocID: "9f6e5a1c-1111-2222-3333-444444444444"},
			{Run: "2al46nuk", Task: "copy", Key: &eu, Attempt: "2al46nuk-0001-000000-002", AllocID: "0b7d2c4e-1111-2222-3333-444444444444"},
		}},
		api.WorkerDead{ID: "3c3c3c3c-0000-0000-0000-000000000000", Name: "worker-3", Attempts: []api.WorkerAttempt{}},
		&api.Error{Status: 409, Code: api.CodeConflict, Message: "worker worker-3 is not dead: its Nomad client answers"},
		&api.Error{Status: 404, Code: api.CodeNotFound, Message: `there is no worker "worker-3"; "cairn operator workers" lists them`},
	} {
		c.env["CAIRN_ADDR"] = answering(t, map[string]any{"POST /v1/operator/worker-dead": answer})
		s.say("operator", "worker-dead", "-auto-approve", "-reason", "power supply burnt", "worker-3")
		s.say("operator", "worker-dead", "-auto-approve", "-json", "worker-3")
	}
	s.say("operator", "worker-dead", "worker-3")
	s.say("operator", "worker-dead")
	golden(t, "operator_worker_dead.txt", s.String())
}

func TestAnOperatorSeesJobsThatNobodyKnows(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	for _, answer := range []any{
		api.Orphans{Orphans: []api.Orphan{{
			Run: "2al46nuk", Attempt: "2al46nuk-0000-000000-001", JobID: "cairn-7dd2-2al46nuk-load-0000-000000-001x", Name: "orders/load #1",
			Region: "global", Namespace: "default", Status: "running", SubmittedAt: time.Now().Add(-3 * time.Hour),
		}}},
		api.Orphans{Orphans: []api.Orphan{}},
	} {
		c.env["CAIRN_ADDR"] = answering(t, map[string]any{"GET /v1/operator/orphans": answer})
		s.say("operator", "orphans")
		s.say("operator", "orphans", "-json")
	}
	golden(t, "operator_orphans.txt", s.String())
}
