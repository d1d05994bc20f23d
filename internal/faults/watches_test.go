// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Many watches from two processes are spread over three servers, wait without being forgotten, and are all told when the run
// changes. CAIRN_FAULTS_WATCHES says how many; -v prints what they take.
func TestManyWatchesAreToldOfAChange(t *testing.T) {
	t.Parallel()
	n := number(t, "CAIRN_FAULTS_WATCHES", 300)
	program := programs.program(t, "/internal/faults/watchers")
	s := newServers(t, cluster.Nomad(t).Address(), cluster.Consul(t).Address())
	leader := s.leader()
	g := s.g
	g.env = append(g.env, "CAIRN_ADDR=http://"+leader.address)
	file := g.write("calm.hcl", "workflow \"calm\" {\n  task \"rest\" {\n    wait { duration = \"24h\" }\n  }\n}\n")
	var entry struct{ ID string }
	if err := json.Unmarshal([]byte(g.call(0, "run", "-detach", "-json", file).stdout()), &entry); err != nil {
		t.Fatal(err)
	}
	rest := make([]map[string]float64, len(s.all))
	args := []string{"-run", entry.ID}
	for i, m := range s.all {
		rest[i] = m.metrics(t)
		args = append(args, "http://"+m.address)
	}
	var watchers [2]*process
	for i := range watchers {
		watchers[i] = g.launch(exec.Command(program, append([]string{"-n", strconv.Itoa((n + i) / 2)}, args...)...))
	}
	// The leader holds them all: those that others pass on, too.
	g.await(fmt.Sprintf("%d watches", n), soon(), func() bool { return leader.metrics(t)["cairn_watches"] == float64(n) })
	goroutines, memory := 0.0, 0.0
	for i, m := range s.all {
		now := m.metrics(t)
		more, bytes := now["go_goroutines"]-rest[i]["go_goroutines"], now["process_resident_memory_bytes"]-rest[i]["process_resident_memory_bytes"]
		t.Logf("%s (leads: %t): %.0f watches, %.0f passed on, %.0f goroutines and %.1f MB more than at rest, %.1f MB together",
			m.name, m == leader, now["cairn_watches"], now["cairn_forwarding"], more, bytes/1e6, now["process_resident_memory_bytes"]/1e6)
		goroutines, memory = goroutines+more, memory+bytes
	}
	t.Logf("for each watch, over all servers: %.1f goroutines, %.1f KB", goroutines/float64(n), memory/float64(n)/1e3)
	// A connection, its reader, and where it is passed on four more and the leader's two.
	if most := 10*float64(n) + 300; goroutines > most {
		t.Errorf("%.0f goroutines for %d watches, at most %.0f are explained", goroutines, n, most)
	}
	stopped := time.Now()
	g.call(0, "runs", "stop", entry.ID)
	for _, w := range watchers {
		w.wants(0)
		var report struct {
			Woken, Failed int
			Error         string
			First, Last   time.Time
		}
		if err := json.Unmarshal([]byte(w.stdout()), &report); err != nil {
			t.Fatalf("%v in %q", err, w.stdout())
		}
		if report.Failed > 0 || report.Error != "" {
			t.Errorf("%d watches failed, the first one with: %s", report.Failed, report.Error)
		}
		t.Logf("%d were told, the first after %s, the last after %s", report.Woken, brief(report.First.Sub(stopped)), brief(report.Last.Sub(stopped)))
	}
	g.await("the end of all watches", soon(), func() bool { return leader.metrics(t)["cairn_watches"] == 0 })
}

var metricLine = regexp.MustCompile(`(?m)^(\w+) ([0-9.e+]+)$`)

// metrics are those of a server that have no labels.
func (m *member) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	_, text := m.get(t, "/metrics")
	out := map[string]float64{}
	for _, found := range metricLine.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(strings.TrimSpace(found[2]), 64)
		if err != nil {
			t.Fatal(err)
		}
		out[found[1]] = value
	}
	return out
}
