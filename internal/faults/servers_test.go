// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// servers are three Cairn servers that share a Consul and a Nomad.
type servers struct {
	g    *ground
	mine string // marks what is theirs in the Consul that they share with others
	all  [3]*member
}

// member is one of the servers, over all its lives.
type member struct {
	*process
	name    string
	dir     string
	address string // host:port; the same in every life
	consul  string // address of its agent
	nomad   string // and of Nomad
	moved   string // a line for that
	cairn   string // the program
	config  string // its file
	more    string // lines of it
	group   uint32 // its processes are of this group, so that the firewall knows them
}

// newServers starts them, and returns when one of them leads. They take the addresses of Consul in turn; others may use the
// same.
func newServers(t *testing.T, nomad string, consul ...string) *servers {
	t.Helper()
	return startServers(newGround(t), func(i int, m *member) { m.nomad, m.consul = nomad, consul[i%len(consul)] })
}

// startServers starts servers that each are set up, and returns when one of them leads.
func startServers(g *ground, setUp func(i int, m *member)) *servers {
	t := g.t
	t.Helper()
	s := &servers{g: g, mine: fmt.Sprintf("%x", time.Now().UnixNano())}
	for i := range s.all {
		m := &member{
			name: fmt.Sprintf("server-%d-%s", i+1, s.mine), cairn: g.cairn, address: freeAddress(t), group: firstGroup + uint32(i),
		}
		setUp(i, m)
		m.dir = filepath.Join(g.dir, m.name)
		if err := os.Mkdir(m.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s.all[i] = m
		s.begin(m)
	}
	s.leader()
	return s
}

// freeAddress finds a port that is free, and stays so while its server is dead: below those that the kernel draws for
// connections, and above those of the agents of tests.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", address); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("there is no free port from 20000 to 32000")
	return ""
}

// begin starts a server, for the first time or again.
func (s *servers) begin(m *member) {
	s.g.t.Helper()
	m.config = s.g.write(m.name+".hcl", fmt.Sprintf(`
name      = %q
data_dir  = %q
log_level = "DEBUG"
http {
  bind = %q
}
nomad {
  address = %q
  %s
}
consul {
  address = %q
  prefix  = "cairn-%s/"
}
%s
`, m.name, m.dir, m.address, m.nomad, m.moved, m.consul, s.mine, m.more))
	cmd := exec.Command(m.cairn, "agent", "-config", m.config)
	if shaped() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Gid: m.group}}
	}
	m.process = s.g.launch(cmd)
	m.says("answers at http://" + m.address)
	s.g.t.Cleanup(func() {
		if s.g.t.Failed() {
			s.g.t.Logf("log of %s:\n%s", m.name, m.stderr())
		}
	})
}

// get asks a server, and returns its answer with the body.
func (m *member) get(t *testing.T, path string) (answer *http.Response, body string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	answer, err := client.Get("http://" + m.address + path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// leads asks a server whether it leads; one that does not answer does not.
func (m *member) leads() bool {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get("http://" + m.address + "/v1/agent/health")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var health struct{ Leader bool }
	return json.NewDecoder(answer.Body).Decode(&health) == nil && health.Leader
}

// leader waits until a server leads, and returns it.
func (s *servers) leader() *member {
	s.g.t.Helper()
	var leader *member
	s.g.await("one server to lead", soon(), func() bool {
		lead := 0 // one that was frozen thinks for a moment that it still does
		for _, m := range s.all {
			if m.leads() {
				leader = m
				lead++
			}
		}
		return lead == 1
	})
	return leader
}

// others are the servers that are not the one given.
func (s *servers) others(than *member) (list []*member) {
	for _, m := range s.all {
		if m != than {
			list = append(list, m)
		}
	}
	return list
}

// leaderAfter waits until another server leads.
func (s *servers) leaderAfter(old *member) (next *member) {
	s.g.t.Helper()
	s.g.await("another server to lead", soon(), func() bool {
		for _, m := range s.all {
			if m != old && m.leads() {
				next = m
			}
		}
		return next != nil
	})
	return next
}

// other returns a server that is not the one given.
func (s *servers) other(than *member, r *rand.Rand) *member {
	others := s.others(than)
	return others[r.IntN(len(others))]
}

// shared is a workflow for servers: what a run without a server has, but for calls, which servers do not make to their own
// machine.
func (g *ground) shared() *plan {
	p := g.newPlan("shared")
	inner := g.tidyChild()
	p.task(spec{name: "c1", work: "-for 300ms -output n=7", other: numbered})
	for i := 2; i <= 6; i++ {
		p.task(spec{name: fmt.Sprintf("c%d", i), work: fmt.Sprintf("-for %dms", 200+(i*170)%500), after: []string{fmt.Sprintf("c%d", i-1)}})
	}
	p.task(spec{name: "fan", work: "-for ${each.value}ms -output half=${each.value/2}", after: []string{"c1"},
		other: "for_each = { eu = 200, us = 300, apac = 400, mea = 600 }\nmax_parallel = 3\noutput \"half\" {\n  type = number\n}"})
	p.task(spec{name: "sum", work: "-for ${sum([for f in task.fan : f.output.half]) - 500}ms", after: []string{"fan"}})
	p.task(spec{name: "again", work: "-for 200ms -fail-first 2", after: []string{"c1"}, other: retries, tries: 3})
	p.task(spec{name: "nest", after: []string{"c2"}, runs: p.g.middle(inner), params: "ms = 200"})
	p.task(spec{name: "cool", after: []string{"c1"}, timer: "wait {\n  duration = \"300ms\"\n}", takes: 300 * time.Millisecond})
	p.task(spec{name: "join", work: "-for 200ms", after: []string{"c6", "sum", "again", "nest", "cool"}})
	p.task(spec{name: "bye", kind: "finally", work: "-for 200ms"})
	p.expect.After["bye"] = []string{"join"}
	return p
}

// A run is submitted to a server that does not lead and watched through it while leader after leader is killed, frozen or
// told to end. Nothing runs twice, nothing is forgotten, and who watches notices no more than a pause.
func TestServersTakeOver(t *testing.T) {
	t.Parallel()
	for n := range rounds(t) {
		t.Run(fmt.Sprintf("round %d", n+1), func(t *testing.T) {
			r := chance(t, n+1)
			s := newServers(t, cluster.Nomad(t).Address(), cluster.Consul(t).Address())
			g := s.g
			p := g.shared()
			file := p.file()
			g.env = append(g.env, "CAIRN_ADDR=http://"+s.other(s.leader(), r).address)
			watcher := g.start("run", "-json", file)
			for range 3 {
				pause(t, time.Duration(r.Int64N(int64(2*time.Second))))
				select {
				case <-watcher.done:
					t.Log("the run had ended before the next blow")
					continue
				default:
				}
				s.strike(r)
			}
			watcher.wants(0)
			run := watcher.document()
			p.expect.Severed = true
			g.judge(run, p.expect)
			g.env = append(g.env, "CAIRN_ADDR=http://"+s.leader().address)
			if shown := g.show(run.ID); shown.Status != "succeeded" {
				t.Errorf("the run is shown as %s", shown.Status)
			}
			for _, m := range s.all {
				m.signal(syscall.SIGTERM)
				m.wants(0)
			}
		})
	}
}

// A server that needs nothing serves every command that a run without a server has.
func TestADevServerServesEveryCommand(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	config := g.write("dev.hcl", "http {\n  bind = \"127.0.0.1:0\"\n}\n")
	s := g.start("agent", "-dev", "-config", config)
	const said = "export CAIRN_ADDR="
	s.says(said)
	_, after, _ := strings.Cut(s.stderr(), said)
	address, _, _ := strings.Cut(after, "\n")
	g.env = append(g.env, "CAIRN_ADDR="+address)

	p := g.thirty()
	run := g.call(0, "run", "-json", p.file()).document()
	g.judge(run, p.expect)
	contains(t, g.call(0, "runs", "list").stdout(), run.ID, "thirty", "succeeded")
	contains(t, g.call(0, "runs", "show", run.ID[:12]).stdout(), run.ID, "c1")
	g.call(0, "runs", "logs", run.ID, "c1") // it wrote nothing, and that is no error

	long := g.newPlan("long")
	long.task(spec{name: "sleep", work: "-for 1h"})
	detached := g.call(0, "run", "-detach", long.file())
	contains(t, detached.stderr(), "on the server at "+address, "Follow it: cairn runs watch")
	g.begun("sleep")
	g.write("dev.hcl", "log_level = \"DEBUG\"\n")
	s.signal(syscall.SIGHUP)
	s.says("configuration read again")
	_, after, _ = strings.Cut(detached.stderr(), "cairn runs watch ")
	id := strings.TrimSpace(after)
	watch := g.start("runs", "watch", id)
	g.call(0, "runs", "stop", id)
	watch.wants(3)
	contains(t, g.call(2, "runs", "rerun", "-param", "x=1", id).stderr(), "x")

	g.call(0, "run", "-detach", long.file())
	g.await("the second sleeper", soon(), func() bool {
		n := 0
		for _, l := range g.lines() {
			if l.Task == "sleep" && l.Event == ledger.Begin {
				n++
			}
		}
		return n == 2
	})
	s.signal(syscall.SIGTERM)
	s.wants(0)
	g.nothingLeft() // the sleeper neither
	contains(t, g.call(4, "runs", "list").stderr(), "No Cairn answers at "+address)
}

// strike ends the leadership of whoever has it, in one of several ways, and prints how long it takes until another one
// leads.
func (s *servers) strike(r *rand.Rand) {
	s.g.t.Helper()
	leader := s.leader()
	how := []string{"killed", "told to end", "frozen"}[r.IntN(3)]
	switch how {
	case "killed":
		leader.signal(syscall.SIGKILL)
		<-leader.done
	case "told to end":
		leader.signal(syscall.SIGTERM)
	case "frozen":
		leader.signal(syscall.SIGSTOP)
	}
	struck := time.Now()
	next := s.leaderAfter(leader)
	s.g.t.Logf("%s was %s; %s leads after %s", leader.name, how, next.name, brief(time.Since(struck)))
	switch how {
	case "frozen":
		leader.signal(syscall.SIGCONT)
	case "told to end":
		leader.wants(0)
		s.begin(leader)
	default:
		s.begin(leader)
	}
}
