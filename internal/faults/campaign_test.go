// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// campaign is a cluster under load that things happen to: three servers of Consul, Nomad with a server and two workers, three
// servers of Cairn, each with a Consul of its own to talk to.
type campaign struct {
	*load
	t      *testing.T
	r      *rand.Rand
	consul *testcluster.ConsulCluster
	nomad  *testcluster.NomadCluster
	disk   *disk                            // of Consul's servers; nil where it cannot be made slow
	wall   *firewall                        // nil where the network is not the test's own
	wires  [3]struct{ consul, nomad *wire } // of each server
}

// loadRuns is how many runs go on at once.
const loadRuns = 4

func newCampaign(t *testing.T, r *rand.Rand) *campaign {
	t.Helper()
	c := &campaign{t: t, r: r}
	on := testcluster.ConsulConfig{Servers: 3, Extra: `log_level = "WARN"`}
	if shaped() {
		if c.disk = newDisk(t); c.disk != nil {
			on.Dir = c.disk.dir
		}
	}
	c.consul = testcluster.Consul(t, on)
	c.nomad = testcluster.Nomad(t, testcluster.NomadConfig{Clients: 2, ExtraServer: `log_level = "WARN"`, ExtraClient: `log_level = "WARN"`})
	g := newGround(t)
	g.cairn = stepped(t)
	all := startServers(g, func(i int, m *member) {
		w := &c.wires[i]
		w.consul, w.nomad = newWire(t, c.consul.Servers[i].Address), newWire(t, c.nomad.Address())
		m.consul, m.nomad = w.consul.address(), "http://"+w.nomad.address()
	})
	if shaped() {
		c.wall = newFirewall(t)
	}
	p := g.shared()
	p.expect.Stepped, p.expect.Severed = true, true
	c.load = newLoad(all, p)
	for range loadRuns {
		c.keepBusy(nil)
	}
	return c
}

// strikes lets faults happen one after the other, with pauses between them, until the time is over.
func (c *campaign) strikes(faults []fault, lasts time.Duration) (count map[string]int) {
	c.t.Helper()
	count = map[string]int{}
	for end := time.Now().Add(lasts); time.Now().Before(end) && !c.t.Failed(); {
		f := faults[c.r.IntN(len(faults))]
		c.leader() // there is one before the next blow
		began := time.Now()
		undo := f.begin(c)
		pause(c.t, f.longest/10+time.Duration(c.r.Int64N(int64(f.longest*9/10))))
		undo()
		c.t.Logf("%s %s for %s", began.Format(time.TimeOnly), f.name, brief(time.Since(began)))
		count[f.name]++
		pause(c.t, time.Duration(c.r.Int64N(int64(3*time.Second))))
	}
	return count
}

// Things happen to the servers, to Consul and to Nomad while runs go on. In the end every run has succeeded, every attempt has
// run once, and servers, documents and ledger tell the same.
func TestServersUnderFaultsOfEveryKind(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, chance(t, 1))
	faults := processFaults()
	if c.wall != nil {
		faults = append(faults, networkFaults()...)
	}
	if c.disk != nil {
		faults = append(faults, slowDisk())
	}
	lasts := duration(t, 20*time.Second)
	count := c.strikes(faults, lasts)
	attempts := c.end()
	total := 0
	for _, f := range faults {
		total += count[f.name]
		t.Logf("%4d x %s", count[f.name], f.name)
	}
	t.Logf("%d faults in %s, %d runs, %d attempts", total, brief(lasts), len(c.runs), attempts)
	if total == 0 || attempts == 0 {
		t.Error("nothing happened")
	}
}

// idleRuns is how many runs wait for somebody while leaders are killed.
const idleRuns = 200

// idle has runs wait for an approval that nobody gives.
func (c *campaign) idle() {
	c.t.Helper()
	var group sync.WaitGroup
	for n := range idleRuns {
		group.Go(func() {
			req := api.SubmitRequest{By: "campaign", Workflow: "idle", Key: fmt.Sprintf("idle-%d", n), Files: []api.File{{
				Path: "idle.hcl", Bytes: []byte("workflow \"idle\" {\n  task \"ask\" {\n    approval {}\n  }\n}\n"),
			}}}
			err := c.anyone(c.t.Context(), func(ctx context.Context, x *client.Client) error {
				_, err := x.Submit(ctx, req)
				return err
			})
			if err != nil {
				c.t.Errorf("submit: %v", err)
			}
		})
	}
	group.Wait()
}

// The leader of two hundred runs is killed again and again, while other runs go on. What the test prints is the time from the
// return of kill, and from SIGTERM, to the first job that the next leader has submitted.
func TestServersTakeOverUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, chance(t, 1))
	c.idle()
	gaps := map[string][]time.Duration{}
	for n := range rounds(t) {
		for _, how := range []string{"killed", "told to end"} {
			pause(t, time.Duration(c.r.Int64N(int64(2*time.Second))))
			m := c.leader()
			var leader api.Leader
			err := c.anyone(t.Context(), func(ctx context.Context, x *client.Client) (err error) {
				leader, err = x.Leader(ctx)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			sig := syscall.SIGKILL
			if how == "told to end" {
				sig = syscall.SIGTERM
			}
			first := c.nomad.Registrations(t)
			m.signal(sig)
			at := time.Now()
			next := c.leaderAfter(m)
			leads := time.Since(at)
			job := first(func(job *nomadapi.Job) bool {
				of, err := strconv.ParseUint(job.Meta["cairn_epoch"], 10, 64)
				if err != nil {
					t.Fatalf("job %s: epoch: %v", *job.ID, err)
				}
				return of > leader.Epoch
			})
			gap := time.Unix(0, *job.SubmitTime).Sub(at)
			t.Logf("round %d: the leader was %s; %s leads after %s, its first job was submitted after %s",
				n+1, how, next.name, brief(leads), brief(gap))
			gaps[how] = append(gaps[how], gap)
			<-m.done
			c.begin(m)
		}
	}
	for how, all := range gaps {
		slices.Sort(all)
		t.Logf("%s %d times: median %s, %s to %s", how, len(all), brief(all[len(all)/2]), brief(all[0]), brief(all[len(all)-1]))
	}
	if attempts := c.end(); attempts == 0 {
		t.Error("nothing ran")
	}
}
