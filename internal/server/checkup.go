// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workers"
)

// What a check-up wants (design: versions that are supported, and what the promises of on_worker_loss need).
const (
	oldestNomad  = "1.8.0"
	oldestConsul = "1.16.0"
	// stopsInTime is the first Nomad whose clients keep stop_on_client_after whatever happens to them.
	stopsInTime = "1.10.2"
	// maxSkew is how far clocks may be apart before it is said, and wrongSkew before it is wrong: fences and deadlines are
	// taken from the leader's.
	maxSkew   = 3 * time.Second
	wrongSkew = time.Minute
	// A client collects what has ended, output files first, when it tracks more allocations than gc_max_allocs, running ones
	// among them.
	allocsPerAttempt = 4
	// Nomad's own defaults.
	defaultMinTTL, defaultGrace, defaultFailover = 10 * time.Second, 10 * time.Second, 5 * time.Minute
	// What a transaction of Cairn's takes as JSON, and a value.
	leastTxn, leastValue = 512 << 10, 256 << 10
	// leastConns are the connections that a server may make to its agent.
	leastConns = 64
)

// facts is what a check-up looks at.
type facts struct {
	nomad       *nomad.AgentFacts // nil: not known
	nomadError  error
	consul      *consul.AgentFacts
	consulError error
	view        workers.View
	viewError   error
	troubles    []string
	clients     map[string]nomad.AgentFacts // by node ID, of those that tell
	placed      map[string]int              // allocations of attempts, by node ID
	access      bool                        // the API asks for tokens
	ahead       map[string]time.Duration    // clocks of other servers, by name
	backups     api.Backups
}

// Check implements httpapi.Servers.
func (g *group) Check(ctx context.Context) (api.Checkup, error) {
	f := facts{access: g.access, placed: map[string]int{}}
	if n, err := g.jobs.nomad.Inspect(ctx); err != nil {
		f.nomadError = err
	} else {
		f.nomad = &n
	}
	if c, err := g.inspect(ctx); err != nil {
		f.consulError = err
	} else {
		f.consul = &c
	}
	f.view, f.troubles, f.viewError = g.look(ctx)
	var nodes []workers.Node
	for _, w := range f.view.Workers {
		if w.Status != workers.Lost && w.Status != workers.Suspect {
			nodes = append(nodes, w.Node)
		}
	}
	f.clients = g.jobs.nomad.InspectWorkers(ctx, nodes)
	for node, placed := range g.jobs.nomad.Placed() {
		f.placed[node] = len(placed)
	}
	f.ahead = g.clocks(ctx)
	var err error
	if f.backups, err = g.Snapshots(ctx); err != nil {
		return api.Checkup{}, err
	}
	return api.Checkup{Findings: f.findings()}, nil
}

// report collects findings.
type report struct{ list []api.Finding }

func (r *report) say(level, about, subject, advice, format string, args ...any) {
	r.list = append(r.list, api.Finding{Level: level, About: about, Subject: subject, Finding: fmt.Sprintf(format, args...), Advice: advice})
}

// findings says what is well, and what is not and how to change that.
func (f *facts) findings() []api.Finding {
	r := &report{}
	f.ofNomad(r)
	f.ofConsul(r)
	f.ofWorkers(r)
	f.ofClocks(r)
	f.ofBackups(r)
	return r.list
}

func (f *facts) ofNomad(r *report) {
	if f.nomad == nil {
		r.say(api.LevelUnknown, "nomad", "agent", "give the servers' Nomad policy agent { policy = \"read\" }", "%s", f.nomadError)
		return
	}
	old(r, "nomad", "agent", f.nomad.Version, oldestNomad, "upgrade Nomad")
	switch {
	case f.nomad.ACL && !f.access:
		r.say(api.LevelWarn, "nomad", "access", `set access { mode = "nomad" }`, "Nomad asks for tokens, and Cairn's API does not")
	case !f.nomad.ACL:
		r.say(api.LevelWarn, "nomad", "access", "turn on Nomad's ACLs where others can reach it", "Nomad asks for no tokens: whoever reaches it may run anything")
	default:
		r.say(api.LevelOK, "nomad", "access", "", "Nomad and Cairn's API ask for tokens")
	}
	if !f.nomad.Server {
		r.say(api.LevelUnknown, "nomad", "heartbeats", "look at min_heartbeat_ttl, heartbeat_grace and failover_heartbeat_ttl of its servers",
			"the agent that is asked is no server, and does not know them")
		return
	}
	ttl, grace, failover := cmp.Or(f.nomad.MinHeartbeatTTL, defaultMinTTL), cmp.Or(f.nomad.HeartbeatGrace, defaultGrace),
		cmp.Or(f.nomad.FailoverHeartbeatTTL, defaultFailover)
	slowest := 2*ttl + grace
	if slowest > 15*time.Second {
		r.say(api.LevelWarn, "nomad", "heartbeats", `server { min_heartbeat_ttl = "3s", heartbeat_grace = "5s" } notices in 5 to 11 seconds, with up to 150 workers`,
			"a lost worker is noticed after %s to %s", grace, slowest)
	} else {
		r.say(api.LevelOK, "nomad", "heartbeats", "", "a lost worker is noticed after %s to %s", grace, slowest)
	}
	if failover > time.Minute {
		r.say(api.LevelWarn, "nomad", "failover", `server { failover_heartbeat_ttl = "1m" }`,
			"a worker that is lost together with Nomad's leader is noticed only after %s", failover)
	} else {
		r.say(api.LevelOK, "nomad", "failover", "", "a worker that is lost together with Nomad's leader is noticed after %s", failover)
	}
}

func (f *facts) ofConsul(r *report) {
	if f.consul == nil {
		r.say(api.LevelUnknown, "consul", "agent", "give the servers' Consul policy agent_prefix \"\" { policy = \"read\" }", "%s", f.consulError)
		return
	}
	old(r, "consul", "agent", f.consul.Version, oldestConsul, "upgrade Consul")
	if f.consul.ACL {
		r.say(api.LevelOK, "consul", "access", "", "Consul asks for tokens")
	} else {
		r.say(api.LevelWarn, "consul", "access", "turn on Consul's ACLs where others can reach it", "Consul asks for no tokens: whoever reaches it may change what Cairn knows")
	}
	limit := func(subject, setting string, is, least int) {
		if is < least {
			r.say(api.LevelFail, "consul", subject, fmt.Sprintf("set limits { %s = %d } at every agent of Consul", setting, least), "%s is %d, and Cairn needs %d", setting, is, least)
			return
		}
		r.say(api.LevelOK, "consul", subject, "", "%s is %d", setting, is)
	}
	limit("value", "kv_max_value_size", f.consul.MaxValue, leastValue)
	limit("transaction", "txn_max_req_len", f.consul.MaxTxn, leastTxn)
	limit("connections", "http_max_conns_per_client", f.consul.MaxConns, leastConns)
}

func (f *facts) ofWorkers(r *report) {
	if f.viewError != nil {
		r.say(api.LevelUnknown, "workers", "all", "", "%s", f.viewError)
		return
	}
	for _, t := range f.troubles {
		r.say(api.LevelUnknown, "workers", "all", "", "%s", t)
	}
	if f.view.Withheld != "" {
		r.say(api.LevelWarn, "workers", "all", "look at the network, and at Consul", "%s", f.view.Withheld)
	}
	if len(f.view.Workers) == 0 {
		r.say(api.LevelFail, "workers", "all", "start a Nomad client", "there are none: nothing can run")
	}
	for i := range f.view.Workers {
		f.ofWorker(r, &f.view.Workers[i])
	}
}

func (f *facts) ofWorker(r *report, w *workers.Worker) {
	before := len(r.list)
	switch w.Status {
	case workers.Lost, workers.Suspect, workers.ClientDown:
		r.say(api.LevelWarn, "workers", w.Name, `if its machine is off: "cairn operator worker-dead `+w.Name+`"`, "it is %s: %s", w.Status, w.Reason)
	}
	if older(w.Version, oldestNomad) {
		r.say(api.LevelFail, "workers", w.Name, "upgrade its Nomad client", "it runs Nomad %s, and Cairn needs %s", w.Version, oldestNomad)
	} else if older(w.Version, stopsInTime) {
		r.say(api.LevelWarn, "workers", w.Name, "upgrade its Nomad client to "+stopsInTime+" or later",
			"it runs Nomad %s, which does not always stop a task after stop_after: wait_for_stop may overlap there", w.Version)
	}
	if w.Consul == nil && w.Trouble == "" {
		r.say(api.LevelWarn, "workers", w.Name, "run an agent of Consul there, and name it in the Nomad client's consul block", "%s", w.Reason)
	}
	client, known := f.clients[w.ID]
	switch needs := allocsPerAttempt * f.placed[w.ID]; {
	case w.Status == workers.Lost || w.Status == workers.Suspect:
	case !known:
		r.say(api.LevelUnknown, "workers", w.Name, "look at gc_max_allocs of its client: four times the most that runs there at once",
			"its client cannot be asked from here")
	case client.MaxAllocs < needs:
		r.say(api.LevelFail, "workers", w.Name, fmt.Sprintf("client { gc_max_allocs = %d }", needs),
			"gc_max_allocs is %d, and %d attempts run there: their output files may be collected before they are read", client.MaxAllocs, f.placed[w.ID])
	case client.MaxAllocs <= 50:
		r.say(api.LevelWarn, "workers", w.Name, "client { gc_max_allocs = 200 }, or four times the most that runs there at once",
			"gc_max_allocs is %d: with more than that many allocations, output files may be collected before they are read", client.MaxAllocs)
	}
	if len(r.list) == before {
		r.say(api.LevelOK, "workers", w.Name, "", "Nomad %s, gc_max_allocs %d: %s", w.Version, client.MaxAllocs, w.Reason)
	}
}

func (f *facts) ofClocks(r *report) {
	judge := func(subject string, ahead time.Duration) {
		const advice = "have the clocks kept by NTP"
		switch off := ahead.Abs(); {
		case off >= wrongSkew:
			r.say(api.LevelFail, "clocks", subject, advice, "its clock is off by %s: deadlines, fences and logs are wrong by that much", ahead)
		case off >= maxSkew:
			r.say(api.LevelWarn, "clocks", subject, advice, "its clock is off by %s", ahead)
		default:
			r.say(api.LevelOK, "clocks", subject, "", "its clock is right, give or take a second")
		}
	}
	if f.nomad != nil {
		judge("Nomad's agent", f.nomad.Ahead)
	}
	for _, name := range slices.Sorted(maps.Keys(f.ahead)) {
		judge("server "+name, f.ahead[name])
	}
}

func old(r *report, about, subject, is, least, advice string) {
	if older(is, least) {
		r.say(api.LevelFail, about, subject, advice+" to "+least+" or later", "it is %s, and Cairn needs %s", is, least)
		return
	}
	r.say(api.LevelOK, about, subject, "", "it is %s", is)
}

// older compares versions by their numbers; what is no version is not older.
func older(is, than string) bool {
	var a, b [3]int
	for text, v := range map[string]*[3]int{is: &a, than: &b} {
		if _, err := fmt.Sscanf(text, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
			return false
		}
	}
	return slices.Compare(a[:], b[:]) < 0
}
