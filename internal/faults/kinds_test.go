// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// fault is something that happens, and what undoes it.
type fault struct {
	name    string
	longest time.Duration // it lasts a tenth of this at least
	begin   func(c *campaign) (undo func())
}

// agentFault is something that happens to an agent of Consul or Nomad.
func agentFault(name string, longest time.Duration, victims func(*campaign) []*testcluster.Agent, begin, undo func(*testcluster.Agent) error) fault {
	return fault{name, longest, func(c *campaign) func() {
		agents := victims(c)
		for _, a := range agents {
			if err := begin(a); err != nil {
				c.t.Fatalf("%s: %v", name, err)
			}
		}
		return func() {
			for _, a := range agents {
				if err := undo(a); err != nil {
					c.t.Fatalf("%s, undone: %v", name, err)
				}
			}
		}
	}}
}

// serverFault is something that happens to servers of Cairn.
func serverFault(name string, longest time.Duration, victims func(*campaign) []*member, begin, undo func(*campaign, *member)) fault {
	return fault{name, longest, func(c *campaign) func() {
		of := victims(c)
		for _, m := range of {
			begin(c, m)
		}
		return func() {
			for _, m := range of {
				undo(c, m)
			}
		}
	}}
}

func theLeader(c *campaign) []*member   { return []*member{c.leader()} }
func aFollower(c *campaign) []*member   { return []*member{c.other(c.leader(), c.r)} }
func anyServer(c *campaign) []*member   { return []*member{c.all[c.r.IntN(len(c.all))]} }
func everyServer(c *campaign) []*member { return c.all[:] }

func killed(_ *campaign, m *member) {
	m.signal(syscall.SIGKILL)
	<-m.done
}
func started(c *campaign, m *member) { c.begin(m) }
func frozen(_ *campaign, m *member)  { m.signal(syscall.SIGSTOP) }
func thawed(_ *campaign, m *member)  { m.signal(syscall.SIGCONT) }

func told(_ *campaign, m *member) {
	m.signal(syscall.SIGTERM)
	m.wants(0)
}

// consulLeader is the server of Consul that leads, or one by chance where none is known to.
func consulLeader(c *campaign) []*testcluster.Agent {
	leader, err := c.consul.Client().Status().Leader()
	if err == nil {
		peers, err := c.consul.Client().Agent().Members(false)
		if err == nil {
			for _, p := range peers {
				for _, a := range c.consul.Servers {
					if a.Name == p.Name && p.Tags["port"] != "" && strings.HasSuffix(leader, ":"+p.Tags["port"]) {
						return []*testcluster.Agent{a}
					}
				}
			}
		}
	}
	return []*testcluster.Agent{c.consul.Servers[c.r.IntN(3)]}
}

func consulMajority(c *campaign) []*testcluster.Agent {
	spared := c.r.IntN(3)
	return slices.Delete(slices.Clone(c.consul.Servers), spared, spared+1)
}

func nomadServer(c *campaign) []*testcluster.Agent { return c.nomad.Servers }

// processFaults need no network of the test's own.
func processFaults() []fault {
	kill, start := (*testcluster.Agent).Kill, (*testcluster.Agent).Start
	pause, resume := (*testcluster.Agent).Pause, (*testcluster.Agent).Resume
	return []fault{
		serverFault("the leader is killed", 4*time.Second, theLeader, killed, started),
		serverFault("the leader is frozen and wakes up", 20*time.Second, theLeader, frozen, thawed),
		serverFault("the leader is told to end", 4*time.Second, theLeader, told, started),
		serverFault("a follower is killed", 4*time.Second, aFollower, killed, started),
		serverFault("a follower is frozen", 20*time.Second, aFollower, frozen, thawed),
		serverFault("every server is killed", 4*time.Second, everyServer, killed, started),
		agentFault("Consul's leader is killed", 6*time.Second, consulLeader, kill, start),
		agentFault("Consul's leader is frozen", 10*time.Second, consulLeader, pause, resume),
		agentFault("Consul has no quorum", 10*time.Second, consulMajority, pause, resume),
		agentFault("Nomad's server is killed", 6*time.Second, nomadServer, kill, start),
		agentFault("Nomad's server is frozen", 5*time.Second, nomadServer, pause, resume), // less than its workers' time to live
		delayed("a server's Consul is slow", func(c *campaign, i int) *wire { return c.wires[i].consul }),
		delayed("a server's Nomad is slow", func(c *campaign, i int) *wire { return c.wires[i].nomad }),
		clockFault(),
	}
}

// delayed makes everything between a server and its Consul, or Nomad, take longer by up to a second each way.
func delayed(name string, which func(*campaign, int) *wire) fault {
	return fault{name, 15 * time.Second, func(c *campaign) func() {
		w := which(c, c.r.IntN(len(c.wires)))
		w.delay.Store(c.r.Int64N(int64(time.Second)))
		return func() { w.delay.Store(0) }
	}}
}

// stepped builds this tree with a clock of the scheduler that a file beside the server's configuration puts forward or back.
func stepped(t *testing.T) string {
	t.Helper()
	return builtOtherwise(t, map[string][2]string{"internal/scheduler/config.go": {"Now:         time.Now,", "Now:         steppedNow,"}},
		map[string]string{"internal/scheduler/stepped.go": `package scheduler

import (
	"os"
	"time"
)

func steppedNow() time.Time {
	text, _ := os.ReadFile(os.Args[len(os.Args)-1] + ".clock") // none: it goes right
	step, _ := time.ParseDuration(string(text))
	return time.Now().Add(step)
}
`})
}

// clockFault puts the clock of every server forward or back by up to ten minutes, each by another step, and kills the leader: the
// next one begins with a clock that went wrong, and goes on when it is put right again.
func clockFault() fault {
	return fault{"clocks step and the leader is killed", 15 * time.Second, func(c *campaign) func() {
		for _, m := range c.all {
			step := time.Duration(c.r.Int64N(int64(20*time.Minute))) - 10*time.Minute
			if err := os.WriteFile(m.config+".clock", []byte(step.String()), 0o600); err != nil {
				c.t.Fatal(err)
			}
		}
		m := c.leader()
		killed(c, m)
		return func() {
			for _, m := range c.all {
				if err := os.Remove(m.config + ".clock"); err != nil {
					c.t.Fatal(err)
				}
			}
			started(c, m)
		}
	}}
}

// networkFault is traffic that is dropped.
func networkFault(name string, longest time.Duration, matches func(*campaign) []string) fault {
	return fault{name, longest, func(c *campaign) func() {
		for _, m := range matches(c) {
			c.wall.drop(m)
		}
		return c.wall.clear
	}}
}

// networkFaults need a network of the test's own.
func networkFaults() []fault {
	consulPorts := func(c *campaign) (all []string) {
		for _, a := range c.consul.Servers {
			for _, m := range ports(c.t, a) {
				all = append(all, m+" "+some(15))
			}
		}
		return all
	}
	return []fault{
		networkFault("the leader is cut off", 20*time.Second, func(c *campaign) []string { return []string{sentBy(c.leader())} }),
		networkFault("the leader is cut off from Consul", 20*time.Second, func(c *campaign) []string {
			m := c.leader()
			return []string{sentBy(m) + " " + to(c.t, m.consul)}
		}),
		networkFault("the leader is cut off from Nomad", 20*time.Second, func(c *campaign) []string {
			m := c.leader()
			return []string{sentBy(m) + " " + to(c.t, m.nomad)}
		}),
		networkFault("nobody reaches Nomad", 20*time.Second, func(c *campaign) (all []string) {
			for _, m := range c.all {
				all = append(all, sentBy(m)+" "+to(c.t, m.nomad))
			}
			return all
		}),
		networkFault("a server loses a third of its packets", 20*time.Second, func(c *campaign) []string {
			return []string{sentBy(anyServer(c)[0]) + " " + some(33)}
		}),
		networkFault("Consul loses packets", 20*time.Second, consulPorts),
	}
}
