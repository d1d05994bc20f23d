// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// servers are Cairn servers that share a Consul of three and a Nomad with one worker.
type servers struct {
	b      *testing.B
	cairn  string
	dir    string
	consul *testcluster.ConsulCluster
	nomad  *testcluster.NomadCluster
	more   string // lines of their configurations
	all    []*member
}

// member is one server, over all its lives.
type member struct {
	*exec.Cmd
	name, config, log, address string
}

// configOf writes the configuration of a server. The file stays the same in every life.
func (s *servers) configOf(m *member) string {
	text := fmt.Sprintf("name = %q\ndata_dir = %q\nlog_level = \"INFO\"\nhttp {\n  bind = %q\n}\nnomad {\n  address = %q\n}\nconsul {\n  address = %q\n}\nlimits {\n  max_inflight = 20000\n}\n%s",
		m.name, filepath.Join(s.dir, m.name), m.address, s.nomad.Address(), s.consul.Address(), s.more)
	path := filepath.Join(s.dir, m.name+".hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.b.Fatal(err)
	}
	return path
}

// quietNomad says little: its logs take time that is measured.
var quietNomad = testcluster.NomadConfig{ExtraServer: `log_level = "WARN"`, ExtraClient: `log_level = "WARN"`}

// newServers starts them, with the agents that they live on.
func newServers(b *testing.B, n int) *servers {
	b.Helper()
	consul := testcluster.Consul(b, testcluster.ConsulConfig{Servers: 3, Extra: `log_level = "WARN"`})
	return startServers(b, n, consul, testcluster.Nomad(b, quietNomad), "")
}

// startServers starts servers on agents that are there.
func startServers(b *testing.B, n int, consul *testcluster.ConsulCluster, nomad *testcluster.NomadCluster, more string) *servers {
	b.Helper()
	s := &servers{b: b, cairn: build(b, ""), dir: b.TempDir(), consul: consul, nomad: nomad, more: more}
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		m := &member{name: fmt.Sprintf("server-%d", i+1), address: l.Addr().String()}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		m.log, m.config = filepath.Join(s.dir, m.name+".log"), s.configOf(m)
		s.all = append(s.all, m)
		s.begin(m)
	}
	b.Cleanup(func() {
		for _, m := range s.all {
			if m.ProcessState == nil {
				_ = m.Process.Kill() // it may have ended by itself
				_ = m.Wait()
			}
		}
	})
	return s
}

// begin starts a server.
func (s *servers) begin(m *member) {
	s.b.Helper()
	m.Cmd = exec.Command(s.cairn, "agent", "-config", m.config)
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.b.Fatal(err)
	}
	defer log.Close()
	m.Stderr = log
	if err := m.Start(); err != nil {
		s.b.Fatal(err)
	}
}

// end sends a server a signal that ends it, and returns when that was.
func (s *servers) end(m *member, how syscall.Signal) time.Time {
	s.b.Helper()
	if err := m.Process.Signal(how); err != nil {
		s.b.Fatal(err)
	}
	return time.Now()
}

// again starts a server again that was told to end, and waits until it may lead.
func (s *servers) again(m *member) {
	s.b.Helper()
	_ = m.Wait() // it may have been killed
	s.begin(m)
	s.await("the server to be back", func() bool { return m.health().Healthy })
}

// health asks a server for itself; one that does not answer does not lead.
func (m *member) health() (h api.Health) {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get("http://" + m.address + "/v1/agent/health")
	if err != nil {
		return h
	}
	defer answer.Body.Close()
	if json.NewDecoder(answer.Body).Decode(&h) != nil {
		return api.Health{}
	}
	return h
}

// leader waits until a server leads that is not the one given.
func (s *servers) leader(than *member) *member {
	s.b.Helper()
	var found *member
	s.await("a leader", func() bool {
		for _, m := range s.all {
			if m != than && m.health().Leader {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// await looks every few milliseconds whether something has become true.
func (s *servers) await(what string, check func() bool) {
	s.b.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(10 * time.Minute); !check(); <-look.C {
		if time.Now().After(end) {
			s.b.Fatalf("waited in vain for %s", what)
		}
	}
}

// says waits until a server's log holds a word for the nth time, and returns that line.
func (s *servers) says(m *member, word string, n int) string {
	s.b.Helper()
	var line string
	s.await(fmt.Sprintf("%q in the log of %s", word, m.name), func() bool {
		text, err := os.ReadFile(m.log)
		if err != nil {
			s.b.Fatal(err)
		}
		found := 0
		for l := range strings.Lines(string(text)) {
			if strings.Contains(l, word) {
				if found++; found == n {
					line = l
				}
			}
		}
		return found >= n
	})
	return line
}

// submit starts runs of one workflow through a server, many at once, each with the params that it is given; nil for none.
func (s *servers) submit(m *member, name, text string, n int, params func(i int) map[string]json.RawMessage) {
	s.b.Helper()
	c, err := client.TCP(client.Server{Address: m.address})
	if err != nil {
		s.b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(s.b.Context(), 20*time.Minute)
	defer cancel()
	next := make(chan int)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for i := range next {
				req := api.SubmitRequest{
					Files: []api.File{{Path: name + ".hcl", Bytes: []byte(text)}}, Workflow: name, Key: name + strconv.Itoa(i), By: "bench",
				}
				if params != nil {
					req.Params = params(i)
				}
				if _, err := c.Submit(ctx, req); err != nil {
					s.b.Errorf("submit run %d of %s: %v", i, name, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	if s.b.Failed() {
		s.b.FailNow()
	}
}

// mock is a task that takes no process.
func mock(name, other string, runs time.Duration) string {
	return fmt.Sprintf(`  task %q {
    %s
    driver = "mock_driver"
    config {
      run_for = %q
    }
    logs {
      disabled      = true
      max_files     = 1
      max_file_size = 1
    }
    resources {
      cpu    = 1
      memory = 10
    }
    ephemeral_disk {
      size = 10 # of a few thousand, together no more than there is
    }
  }
`, name, other, runs)
}

// known is what a leader logs when it has asked Nomad for everything that was under way.
const known = "everything that was under way is known"

// BenchmarkTakeover: nine of ten runs wait, one of ten is with Nomad, and one of a hundred is wide. CAIRN_BENCH_RUNS sets another
// number. The leader of ten thousand active runs is killed. The next one knows all of them, and what runs of them
// in Nomad, within five seconds, and keeps below 1 GiB.
func BenchmarkTakeover(b *testing.B) {
	for b.Loop() {
		s := newServers(b, 3)
		first := s.leader(nil)
		n := setting(b, "CAIRN_BENCH_RUNS", 10_000)
		began := time.Now()
		s.submit(first, "waits", "workflow \"waits\" {\n  task \"w\" {\n    wait {\n      duration = \"48h\"\n    }\n  }\n}\n", n*6/10, nil)
		s.submit(first, "asks", "workflow \"asks\" {\n  task \"a\" {\n    approval {}\n  }\n}\n", n*3/10, nil)
		s.submit(first, "works", "workflow \"works\" {\n"+mock("w", "", 48*time.Hour)+"}\n", n*9/100, nil)
		s.submit(first, "wide", "workflow \"wide\" {\n"+mock("w", "count = 10", 48*time.Hour)+"}\n", n/100, nil)
		b.Logf("%d runs submitted in %s", n, time.Since(began).Round(time.Second))
		jobs := n*9/100 + n/10
		nomad := s.nomad.Client()
		s.await("everything to run in Nomad", func() bool {
			list, _, err := nomad.Jobs().List(nil)
			if err != nil {
				b.Fatal(err)
			}
			running := 0
			for _, job := range list {
				for _, group := range job.JobSummary.Summary {
					running += group.Running
				}
			}
			return running >= jobs
		})
		var led, acted []float64
		var peak float64
		for range pairs {
			old := s.leader(nil)
			told, read := map[*member]int{}, map[*member]map[string]float64{}
			for _, m := range s.all {
				read[m] = m.metrics(b)
				told[m] = bytes.Count(must(os.ReadFile(m.log)), []byte(known))
			}
			killed := s.end(old, syscall.SIGKILL)
			next := s.leader(old)
			led = append(led, time.Since(killed).Seconds())
			line := s.says(next, known, told[next]+1)
			acted = append(acted, time.Since(killed).Seconds())
			reads := func(of string) float64 {
				name := "cairn_consul_" + of + `{kind="read"}`
				return next.metrics(b)[name] - read[next][name]
			}
			b.Logf("epoch %s: Consul was read in %.0f transactions of %.0f operations, %.1f MB", strings.TrimSpace(strings.SplitAfterN(line, "epoch=", 2)[1]),
				reads("transaction_seconds_count"), reads("operations_total"), reads("bytes_total")/1e6)
			peak = max(peak, peakOf(next.Process.Pid, s.cairn))
			s.again(old)
		}
		report(b, fmt.Sprintf("from the kill of the leader of %d runs to the next leader", n), "s", sorted(led), 2)
		report(b, fmt.Sprintf("from the kill of the leader of %d runs until all that was under way is known", n), "s", sorted(acted), 5)
		report(b, "peak resident memory of a leader", "MiB", []float64{peak}, 1024)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
