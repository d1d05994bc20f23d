// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// site is where disasters happen: a Consul and a Nomad of its own, and three servers that keep their backups in one folder.
type site struct {
	*servers
	consul  *testcluster.ConsulCluster
	nomad   *testcluster.NomadCluster // nil: the one of the other tests
	backups string
}

func newSite(t *testing.T, ownNomad bool) *site {
	t.Helper()
	s := &site{consul: testcluster.Consul(t, testcluster.ConsulConfig{})}
	address := ""
	if ownNomad {
		s.nomad = testcluster.Nomad(t, testcluster.NomadConfig{})
		address = s.nomad.Address()
	} else {
		address = cluster.Nomad(t).Address()
	}
	s.start(newGround(t), address)
	return s
}

// start starts the servers.
func (s *site) start(g *ground, nomad string) {
	g.t.Helper()
	s.backups = filepath.Join(g.dir, "backups")
	s.servers = startServers(g, func(_ int, m *member) {
		m.nomad, m.consul, m.more = nomad, s.consul.Address(), fmt.Sprintf("backup {\n  folder = %q\n}\n", s.backups)
	})
	g.env = append(g.env, "CONSUL_HTTP_ADDR="+s.consul.Address())
	s.meet()
}

// meet has commands talk to a server that does not lead.
func (s *site) meet() {
	leader := s.leader()
	s.g.env = append(s.g.env, "CAIRN_ADDR=http://"+s.others(leader)[0].address)
}

// prefix is that of the servers' keys.
func (s *site) prefix() string { return "cairn-" + s.mine + "/" }

// save has a snapshot taken, and returns its path and how many runs were active then, as everybody who reads it has to find.
func (s *site) save() (path, active string) {
	s.g.t.Helper()
	var taken struct {
		Name  string
		Stock struct{ Active int }
	}
	if err := json.Unmarshal([]byte(s.g.call(0, "operator", "snapshot", "save", "-json").stdout()), &taken); err != nil {
		s.g.t.Fatal(err)
	}
	return filepath.Join(s.backups, taken.Name), fmt.Sprintf("%d active run", taken.Stock.Active)
}

// submit starts a run and returns its ID.
func (g *ground) submit(p *plan) string {
	g.t.Helper()
	said := g.call(0, "run", "-detach", p.file()).stderr()
	_, after, found := strings.Cut(said, "cairn runs watch ")
	if !found {
		g.t.Fatalf("a run was submitted, and nobody says which: %s", said)
	}
	return strings.TrimSpace(after)
}

// wipe ends agents as their machines end, and starts others at their addresses, which know nothing. What Nomad's clients have
// mounted stays until the end of the test.
func wipe(t *testing.T, agents []*testcluster.Agent, start func() error) {
	t.Helper()
	var errs []error
	for _, a := range agents {
		errs = append(errs, a.PowerOff())
		for _, what := range []string{"server", "client", "raft", "serf", "checks", "services", "node-id"} {
			errs = append(errs, os.RemoveAll(filepath.Join(a.Dir, "data", what)))
		}
	}
	if err := errors.Join(append(errs, start())...); err != nil {
		t.Fatal(err)
	}
}

// Lost Consul (jobs/README.md): everything in it is gone under living servers, minutes after a snapshot. What ran since is found
// in Nomad, nothing runs twice, and a run that the snapshot does not know runs on as an orphan.
func TestConsulIsLostAndRestored(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	g := s.g
	p := g.shared()
	id := g.submit(p)
	g.begun("c2")
	file, active := s.save()
	stranger := newGround(t, g.env[1:]...)
	stranger.env = append(stranger.env, "CAIRN_ADDR=http://"+s.leader().address)
	late := stranger.newPlan("late")
	over := filepath.Join(stranger.dir, "over")
	late.task(spec{name: "long", work: "-until " + over})
	unknown := stranger.submit(late)
	stranger.begun("long")
	g.begun("c5")
	wipe(t, s.consul.Agents(), s.consul.Start)
	g.await("the servers to lead over nothing", soon(), func() bool {
		var list struct{ Runs []struct{ ID string } }
		asked := g.start("runs", "list", "-json")
		return asked.code() == 0 && json.Unmarshal([]byte(asked.stdout()), &list) == nil && len(list.Runs) == 0
	})

	contains(t, g.call(0, "operator", "snapshot", "list", "-folder", s.backups).stdout(), filepath.Base(file))
	contains(t, g.call(0, "operator", "snapshot", "verify", "-prefix", s.prefix(), file).stderr(), "is sound: "+active)
	drill := g.call(0, "operator", "snapshot", "drill", "-prefix", s.prefix(), "-folder", s.backups, "-max-age", "1h", "-consul", testcluster.ConsulBinary(t)).stdout()
	contains(t, drill, filepath.Base(file), "Consul restored it in", active, "and 0 ended runs were read")
	contains(t, g.call(2, "operator", "snapshot", "restore", "-prefix", s.prefix(), file).stderr(), "nobody can be asked")
	dry := g.call(0, "operator", "snapshot", "restore", "-dry-run", "-prefix", s.prefix(), file).stdout()
	contains(t, dry, "0 runs that the snapshot does not know", "and the epoch becomes")
	restored := g.call(0, "operator", "snapshot", "restore", "-auto-approve", "-prefix", s.prefix(), file)
	contains(t, restored.stderr(), "The state of the snapshot is in use", s.mine+" leads with it")
	s.meet()
	g.call(0, "runs", "watch", id)
	p.expect.Severed = true
	g.judge(g.show(id), p.expect)

	contains(t, g.call(1, "runs", "show", unknown).stderr(), "There is no run "+unknown)
	contains(t, g.call(0, "operator", "orphans").stdout(), unknown, "running")
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stranger.await("the end of the task that nobody knows", soon(), func() bool {
		lines := stranger.lines()
		return lines[len(lines)-1].Event == ledger.End
	})
	g.submit(g.newPlan("new").one()) // work goes on
	g.begun("one")
}

// one makes it a workflow of one task.
func (p *plan) one() *plan {
	p.task(spec{name: "one", work: "-for 1ms"})
	return p
}

// Lost Nomad (jobs/README.md): what was with it is lost, and is tried again by the new one.
func TestNomadIsLost(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	g := s.g
	p := g.shared()
	id := g.submit(p)
	g.begun("c3")
	wipe(t, s.nomad.Agents(), s.nomad.Start)
	g.call(0, "runs", "watch", id)
	p.expect.Severed, p.expect.Lost = true, true
	g.judge(g.show(id), p.expect)
}

// Lost data centre (jobs/README.md): machines, disks, Consul and Nomad are gone; what is left is the folder with the backups. What
// had ended before the snapshot does not run again.
func TestEverythingIsLostAndRestored(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	g := s.g
	p := g.shared()
	id := g.submit(p)
	g.begun("c3")
	before := g.show(id) // what ends while the snapshot is taken may be in it or not
	file, active := s.save()
	g.begun("c5")
	for _, m := range s.all {
		m.signal(syscall.SIGKILL)
		<-m.done
		if err := errors.Join(os.RemoveAll(m.dir), os.Mkdir(m.dir, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	wipe(t, s.nomad.Agents(), s.nomad.Start)
	wipe(t, s.consul.Agents(), s.consul.Start)
	gone := len(g.lines())

	contains(t, g.call(0, "operator", "snapshot", "inspect", "-prefix", s.prefix(), file).stdout(), active, "epoch")
	g.call(0, "operator", "snapshot", "restore", "-auto-approve", "-prefix", s.prefix(), file)
	for _, m := range s.all {
		s.begin(m)
	}
	s.meet()
	g.call(0, "runs", "watch", id)
	s.stands(id, before, gone)
}

// Moved to another region (jobs/README.md): machines, Consul and Nomad are others, at other addresses and under other names. Runs
// that name the old region and its data centre go on in the new one.
func TestEverythingMovesToAnotherRegion(t *testing.T) {
	t.Parallel()
	region := func(name string) testcluster.NomadConfig {
		extra := fmt.Sprintf("region = %q\ndatacenter = \"%s-1\"\n", name, name)
		return testcluster.NomadConfig{ExtraServer: extra, ExtraClient: extra}
	}
	s := &site{consul: testcluster.Consul(t, testcluster.ConsulConfig{Extra: `datacenter = "north"`}), nomad: testcluster.Nomad(t, region("north"))}
	s.start(newGround(t), s.nomad.Address())
	g := s.g
	p := g.newPlan("homely")
	const home = "region = \"north\"\ndatacenters = [\"north-1\"]"
	p.task(spec{name: "c1", work: "-for 300ms -output n=7", other: home + "\n" + numbered})
	for i := 2; i <= 6; i++ {
		p.task(spec{name: fmt.Sprintf("c%d", i), work: "-for ${task.c1.output.n}00ms", other: home, after: []string{fmt.Sprintf("c%d", i-1)}})
	}
	id := g.submit(p)
	g.begun("c3")
	before := g.show(id)
	file, _ := s.save()
	g.begun("c4")
	for _, m := range s.all {
		m.signal(syscall.SIGKILL)
		<-m.done
	}
	for _, a := range slices.Concat(s.nomad.Agents(), s.consul.Agents()) {
		if err := a.PowerOff(); err != nil {
			t.Fatal(err)
		}
	}
	gone := len(g.lines())

	there := &site{consul: testcluster.Consul(t, testcluster.ConsulConfig{Extra: `datacenter = "south"`}), nomad: testcluster.Nomad(t, region("south"))}
	g.env = append(g.env, "CONSUL_HTTP_ADDR="+there.consul.Address())
	g.call(0, "operator", "snapshot", "restore", "-auto-approve", "-prefix", s.prefix(), file)
	for _, m := range s.all {
		m.consul, m.nomad, m.moved = there.consul.Address(), there.nomad.Address(), `moved = ["north=south", "north-1=south-1"]`
		if err := errors.Join(os.RemoveAll(m.dir), os.Mkdir(m.dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		s.begin(m)
	}
	s.meet()
	g.call(0, "runs", "watch", id)
	s.stands(id, before, gone)
}

// Nomad is restored from a snapshot of its own under living servers: what it has forgotten is lost and tried again, what it still
// runs is awaited.
func TestNomadIsRestored(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	g := s.g
	p := g.shared()
	id := g.submit(p)
	g.begun("c2")
	restore := s.nomad.Snapshot(t)
	g.begun("c4")
	restore()
	g.call(0, "runs", "watch", id)
	p.expect.Severed, p.expect.Lost = true, true
	g.judge(g.show(id), p.expect)
}

// Consul and Nomad are both restored to one moment in the middle of a run. What had ended before it does not run again.
func TestConsulAndNomadAreRestored(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	g := s.g
	p := g.shared()
	id := g.submit(p)
	g.begun("c3")
	before := g.show(id)
	restore := s.nomad.Snapshot(t)
	file, _ := s.save()
	g.begun("c5")
	restore()
	g.call(0, "operator", "snapshot", "restore", "-auto-approve", "-prefix", s.prefix(), file)
	gone := len(g.lines())
	s.meet()
	watch := g.start("runs", "watch", id)
	g.await("the run to end, a minute after what nobody knows the end of", time.Now().Add(3*patience), func() bool {
		select {
		case <-watch.done:
			return true
		default:
			return false
		}
	})
	watch.wants(0)
	s.stands(id, before, gone)
}

// stands checks that a run has succeeded, and that what had succeeded in it before did not run again after so many lines of the
// ledger.
func (s *site) stands(id string, before *ledger.Run, lines int) {
	g, t := s.g, s.g.t
	t.Helper()
	run := g.show(id)
	if run.Status != "succeeded" {
		t.Errorf("the run is %s, want succeeded", run.Status)
	}
	ended := map[string]bool{}
	for _, task := range before.Tasks {
		if task.Status == "succeeded" {
			ended[task.Name] = true
		}
	}
	if !ended["c1"] || !ended["c2"] {
		t.Errorf("before the snapshot these had ended: %v", ended)
	}
	for _, line := range g.lines()[lines:] {
		if line.Run == id && ended[line.Task] {
			t.Errorf("task %s had succeeded before the snapshot, and ran again: %+v", line.Task, line)
		}
	}
}
