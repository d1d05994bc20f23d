// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workers"
)

// wellSetUp is a cluster with which nothing is wrong.
func wellSetUp() *facts {
	worker := workers.Worker{Node: workers.Node{ID: "1a", Name: "worker-1", Version: "1.11.3"}, Consul: &workers.Machine{}, Status: workers.Ready, Reason: "Nomad and Consul have it"}
	return &facts{
		nomad: &nomad.AgentFacts{
			Version: "1.11.3", Server: true, ACL: true, MinHeartbeatTTL: 3 * time.Second, HeartbeatGrace: 5 * time.Second, FailoverHeartbeatTTL: time.Minute,
		},
		consul:  &consul.AgentFacts{Version: "1.22.3", ACL: true, MaxValue: 512 << 10, MaxTxn: 512 << 10, MaxConns: 200},
		view:    workers.View{Workers: []workers.Worker{worker}},
		clients: map[string]nomad.AgentFacts{"1a": {MaxAllocs: 400}},
		placed:  map[string]int{"1a": 10}, access: true, ahead: map[string]time.Duration{"server-2": -time.Second},
		backups: api.Backups{Interval: "1h0m0s", Folder: "/srv/backup"},
	}
}

// drilled gives the facts a snapshot that was drilled.
func (f *facts) drilled(broken ...string) {
	f.backups.Backups = []api.Backup{{Name: "a", Drill: &api.BackupDrill{At: time.Now(), By: "worker-1", Active: 2, Broken: broken}}}
	f.backups.Drilled = "a"
}

func TestACheckupSaysWhatToChange(t *testing.T) {
	well := wellSetUp()
	well.drilled()
	for _, f := range well.findings() {
		if f.Level != api.LevelOK || f.Advice != "" {
			t.Errorf("where all is well: %+v", f)
		}
	}
	worker := func(f *facts) *workers.Worker { return &f.view.Workers[0] }
	for name, c := range map[string]struct {
		change func(*facts)
		want   string // level, about and subject of what is not ok
		says   string
	}{
		"old Nomad":                 {func(f *facts) { f.nomad.Version = "1.7.7" }, "fail nomad agent", "Cairn needs 1.8.0"},
		"a Nomad of the future":     {func(f *facts) { f.nomad.Version = "2.0.0-beta.1+ent" }, "", ""},
		"Nomad's default times":     {func(f *facts) { f.nomad.MinHeartbeatTTL, f.nomad.HeartbeatGrace = 0, 0 }, "warn nomad heartbeats", "after 10s to 30s"},
		"five minutes":              {func(f *facts) { f.nomad.FailoverHeartbeatTTL = 0 }, "warn nomad failover", "only after 5m0s"},
		"an agent of no server":     {func(f *facts) { f.nomad.Server = false }, "unknown nomad heartbeats", "is no server"},
		"no agent:read":             {func(f *facts) { f.nomad, f.nomadError = nil, errors.New("403") }, "unknown nomad agent", "403"},
		"an open API":               {func(f *facts) { f.access = false }, "warn nomad access", "Cairn's API does not"},
		"an open Nomad":             {func(f *facts) { f.nomad.ACL = false }, "warn nomad access", "run anything"},
		"old Consul":                {func(f *facts) { f.consul.Version = "1.15.9" }, "fail consul agent", "Cairn needs 1.16.0"},
		"an open Consul":            {func(f *facts) { f.consul.ACL = false }, "warn consul access", "whoever reaches it"},
		"small values":              {func(f *facts) { f.consul.MaxValue = 1000 }, "fail consul value", "kv_max_value_size is 1000"},
		"small transactions":        {func(f *facts) { f.consul.MaxTxn = 1000 }, "fail consul transaction", "txn_max_req_len is 1000"},
		"few connections":           {func(f *facts) { f.consul.MaxConns = 10 }, "fail consul connections", "http_max_conns_per_client is 10"},
		"Consul does not tell":      {func(f *facts) { f.consul, f.consulError = nil, errors.New("403") }, "unknown consul agent", "403"},
		"no workers":                {func(f *facts) { f.view.Workers = nil }, "fail workers all", "nothing can run"},
		"workers not known":         {func(f *facts) { f.viewError = errors.New("no answer") }, "unknown workers all", "no answer"},
		"some not known":            {func(f *facts) { f.troubles = []string{"west is silent"} }, "unknown workers all", "west"},
		"Consul is not believed":    {func(f *facts) { f.view.Withheld = "too many" }, "warn workers all", "too many"},
		"a suspect":                 {func(f *facts) { worker(f).Status = workers.Suspect }, "warn workers worker-1", "it is suspect"},
		"an old client":             {func(f *facts) { worker(f).Version = "1.7.0" }, "fail workers worker-1", "Cairn needs 1.8.0"},
		"a client that may overlap": {func(f *facts) { worker(f).Version = "1.10.1" }, "warn workers worker-1", "wait_for_stop may overlap"},
		"no Consul there":           {func(f *facts) { worker(f).Consul = nil }, "warn workers worker-1", "Nomad and Consul have it"},
		"a client out of reach":     {func(f *facts) { f.clients = nil }, "unknown workers worker-1", "cannot be asked"},
		"few allocations":           {func(f *facts) { f.clients["1a"] = nomad.AgentFacts{MaxAllocs: 50} }, "warn workers worker-1", "gc_max_allocs is 50"},
		"too few allocations":       {func(f *facts) { f.placed["1a"] = 101 }, "fail workers worker-1", "101 attempts run there"},
		"a clock that is off":       {func(f *facts) { f.nomad.Ahead = 5 * time.Second }, "warn clocks Nomad's agent", "off by 5s"},
		"no backups":                {func(f *facts) { f.backups.Interval = "" }, "warn backup snapshots", "takes none by itself"},
		"backups that fail":         {func(f *facts) { f.backups.Trouble = "no space" }, "fail backup snapshots", "no space"},
		"backups without a drill":   {func(f *facts) { f.backups.Backups = []api.Backup{{Name: "a"}} }, "warn backup drill", "none of the snapshots"},
		"a drill of long ago":       {func(f *facts) { f.drilled(); f.backups.Backups[0].TakenAt = time.Now().Add(49 * time.Hour) }, "warn backup drill", "the last drill was on"},
		"a drill that failed":       {func(f *facts) { f.drilled("its head is gone") }, "fail backup drill", "the drill of a on worker-1 failed: its head is gone"},
		"a backup that is overdue":  {func(f *facts) { f.backups.Overdue = true }, "fail backup snapshots", "one is overdue"},
		"a clock that is wrong":     {func(f *facts) { f.ahead["server-2"] = -time.Hour }, "fail clocks server server-2", "off by -1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			f := wellSetUp()
			c.change(f)
			got, says := []string{}, ""
			for _, found := range f.findings() {
				if found.Level != api.LevelOK {
					got, says = append(got, fmt.Sprintf("%s %s %s", found.Level, found.About, found.Subject)), found.Finding
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" || !strings.Contains(says, c.says) {
				t.Errorf("findings (-want +got):\n%s\nsays %q, want %q in it", diff, says, c.says)
			}
		})
	}
}
