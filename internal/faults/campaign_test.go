// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/faults/ledger"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// campaign is a cluster under load that things happen to: three servers of Consul, Nomad with a server and two workers, three
// servers of Cairn, each with a Consul of its own to talk to.
type campaign struct {
	*servers
	t      *testing.T
	r      *rand.Rand
	consul *testcluster.ConsulCluster
	nomad  *testcluster.NomadCluster
	disk   *disk                            // of Consul's servers; nil where it cannot be made slow
	wall   *firewall                        // nil where the network is not the test's own
	wires  [3]struct{ consul, nomad *wire } // of each server
	plan   *plan
	files  []api.File

	load   sync.WaitGroup
	stop   chan struct{}
	halted sync.Once

	mu   sync.Mutex // guards what follows
	runs []string   // submitted, in order
}

// loadRuns is how many runs go on at once.
const loadRuns = 4

func newCampaign(t *testing.T, r *rand.Rand) *campaign {
	t.Helper()
	c := &campaign{t: t, r: r, stop: make(chan struct{})}
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
	c.servers = startServers(g, func(i int, m *member) {
		w := &c.wires[i]
		w.consul, w.nomad = newWire(t, c.consul.Servers[i].Address), newWire(t, c.nomad.Address())
		m.consul, m.nomad = w.consul.address(), "http://"+w.nomad.address()
	})
	if shaped() {
		c.wall = newFirewall(t)
	}
	c.plan = c.g.shared()
	c.plan.expect.Stepped = true
	file := c.plan.file()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".hcl" && !strings.HasPrefix(e.Name(), "server-") {
			c.files = append(c.files, api.File{Path: e.Name(), Bytes: []byte(c.g.text(filepath.Join(filepath.Dir(file), e.Name()))),
				Named: e.Name() != filepath.Base(file)})
		}
	}
	t.Cleanup(c.halt) // where it did not come to its end
	for slot := range loadRuns {
		c.load.Go(func() { c.keepBusy(slot) })
	}
	return c
}

// halt begins no more runs, and returns when those that go on have ended, or the test has.
func (c *campaign) halt() {
	c.halted.Do(func() { close(c.stop) })
	c.load.Wait()
}

// anyone calls a server, another one each time it fails, until one answers or ctx ends. What is asked may be asked twice.
func (c *campaign) anyone(ctx context.Context, ask func(context.Context, *client.Client) error) error {
	for n := rand.IntN(len(c.all)); ; n++ {
		x, err := client.TCP(client.Server{Address: c.all[n%len(c.all)].address})
		if err != nil {
			return err
		}
		one, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = ask(one, x)
		cancel()
		x.Close()
		var refused *api.Error
		if err == nil || errors.As(err, &refused) && refused.Status < 500 {
			return err
		}
		pause := time.NewTimer(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w; the last server said: %w", ctx.Err(), err)
		}
	}
}

// keepBusy runs one run after the other until the campaign is over.
func (c *campaign) keepBusy(slot int) {
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		default:
		}
		req := api.SubmitRequest{Files: c.files, Workflow: c.plan.name, By: "campaign", Key: fmt.Sprintf("%d-%d", slot, n)}
		var id string
		err := c.anyone(c.t.Context(), func(ctx context.Context, x *client.Client) error {
			e, err := x.Submit(ctx, req)
			id = e.ID
			return err
		})
		if c.t.Context().Err() != nil {
			return
		}
		if err != nil {
			c.t.Errorf("submit: %v", err)
			return
		}
		c.mu.Lock()
		c.runs = append(c.runs, id)
		c.mu.Unlock()
		if err := c.await(id); err != nil {
			if c.t.Context().Err() == nil {
				c.t.Errorf("run %s: %v", id, err)
			}
			return
		}
	}
}

// stuck is after what time without a fault a run that has not ended counts as stuck.
const stuck = 10 * time.Minute

// await waits for the end of a run, through any server.
func (c *campaign) await(id string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), stuck)
	defer cancel()
	for index := uint64(0); ; {
		var run *api.Run
		err := c.anyone(ctx, func(ctx context.Context, x *client.Client) (err error) {
			var next uint64
			if run, next, err = x.Wait(ctx, id, index, 10*time.Second); err == nil {
				index = next
			}
			return err
		})
		if err != nil {
			return err
		}
		if run.Terminal() {
			return nil
		}
	}
}

// end lets the runs that go on end, and judges all there were.
func (c *campaign) end() (attempts int) {
	c.t.Helper()
	c.halt()
	var list []api.RunEntry
	for next := ""; ; {
		var page api.Runs
		err := c.anyone(c.t.Context(), func(ctx context.Context, x *client.Client) (err error) {
			page, err = x.Runs(ctx, client.RunsQuery{Children: true, PerPage: 1000, Next: next})
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, page.Runs...)
		if next = page.Next; next == "" {
			break
		}
	}
	docs := map[string]*ledger.Run{}
	var known []string
	for _, e := range list {
		docs[e.ID] = c.document(e.ID)
		if e.Parent == "" && e.Workflow == c.plan.name {
			known = append(known, e.ID)
		}
	}
	slices.Sort(known)
	slices.Sort(c.runs)
	if !slices.Equal(known, c.runs) {
		c.t.Errorf("the servers list %d runs, %d were submitted:\n%v\n%v", len(known), len(c.runs), known, c.runs)
	}
	family := func(id string) string { // the run that somebody started
		for docs[id] != nil && docs[id].Parent != nil {
			id = docs[id].Parent.Run
		}
		return id
	}
	lines := map[string][]ledger.Line{}
	for _, l := range c.g.lines() {
		lines[family(l.Run)] = append(lines[family(l.Run)], l)
		if l.Event == ledger.Begin {
			attempts++
		}
	}
	children := map[string][]*ledger.Run{}
	for id, doc := range docs {
		if doc.Parent != nil {
			children[family(id)] = append(children[family(id)], doc)
		}
	}
	c.plan.expect.Severed = true
	for _, id := range c.runs {
		if docs[id] == nil {
			continue // told above
		}
		if wrong := ledger.Judge(ledger.Evidence{Lines: lines[id], Run: docs[id], Children: children[id]}, c.plan.expect); len(wrong) > 0 {
			c.t.Errorf("run %s:\n%s", id, strings.Join(wrong, "\n"))
		}
		delete(lines, id)
	}
	for id, of := range lines {
		c.t.Errorf("%d lines of the ledger are of run %s, which nobody knows", len(of), id)
	}
	return attempts
}

func (c *campaign) document(id string) *ledger.Run {
	c.t.Helper()
	var raw []byte
	err := c.anyone(c.t.Context(), func(ctx context.Context, x *client.Client) error {
		run, err := x.Run(ctx, id)
		if err == nil {
			raw, err = json.Marshal(run)
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	run, err := ledger.ParseRun(raw)
	if err != nil {
		c.t.Fatal(err)
	}
	return run
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

// duration is how long a campaign lasts: CAIRN_FAULTS_TIME, or what is given.
func duration(t *testing.T, standard time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("CAIRN_FAULTS_TIME")
	if text == "" {
		return standard
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("CAIRN_FAULTS_TIME is %q, want something like 1h", text)
	}
	return d
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
