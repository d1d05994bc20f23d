// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// counter counts by name.
type counter struct {
	mu    sync.Mutex // guards count
	count map[string]int
}

func (c *counter) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[name]++
}

// callKind names a call to Nomad by what it is for.
func callKind(r *http.Request) string {
	path, write := strings.TrimPrefix(r.URL.Path, "/v1"), r.Method != http.MethodGet
	switch {
	case path == "/jobs" && write:
		return "register"
	case strings.HasPrefix(path, "/client/fs/stream/"):
		return "output read"
	case path == "/validate/job":
		return "validation"
	case path == "/event/stream":
		return "watch: event stream opened"
	case path == "/jobs" || path == "/jobs/statuses":
		return "watch: list"
	case strings.HasPrefix(path, "/job/") && strings.HasSuffix(path, "/allocations"), strings.HasPrefix(path, "/allocation/"):
		return "watch: look at one job"
	case strings.HasPrefix(path, "/job/") && r.Method == http.MethodDelete:
		return "stop or purge"
	case strings.HasPrefix(path, "/agent/"), strings.HasPrefix(path, "/status/"), strings.HasPrefix(path, "/regions"), strings.HasPrefix(path, "/node"):
		return "at start: who is there"
	}
	return "else: " + r.Method + " " + path
}

// counted has ten tasks in a chain, ten independent ones and ten instances of a fan-out that give an output each.
func counted() string {
	const sleep = "    config {\n      command = \"/bin/sleep\"\n      args    = [\"0.2\"]\n    }\n"
	var text strings.Builder
	text.WriteString("workflow \"counted\" {\n  defaults {\n    driver = \"raw_exec\"\n    resources {\n      cpu    = 10\n      memory = 10\n    }\n  }\n")
	for i := range 10 {
		after := ""
		if i > 0 {
			after = fmt.Sprintf("    depends_on = [task.chain%d]\n", i-1)
		}
		fmt.Fprintf(&text, "  task \"single%d\" {\n%s  }\n  task \"chain%d\" {\n%s%s  }\n", i, sleep, i, after, sleep)
	}
	text.WriteString(`  task "fan" {
    count = 10
    config {
      command = "/bin/sh"
      args    = ["-c", "echo \"n=$1\" > \"$CAIRN_OUTPUT\"", "sh", "${each.index}"]
    }
    output "n" {
      type = number
    }
  }
}
`)
	return text.String()
}

// At most two calls of Nomad for every task, registering and reading the output; watching, one validation for every task of
// the definition and purging come on top. At most one save for every change.
func TestCallsOfNomadAndSavesForARun(t *testing.T) {
	const tasks, attempts, outputs = 21, 30, 10
	r := newRig(t, counted())
	target, err := url.Parse(r.onNomad().Address())
	if err != nil {
		t.Fatal(err)
	}
	calls := &counter{count: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1 // events as they come
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		calls.add(callKind(req))
		proxy.ServeHTTP(w, req)
	}))
	defer front.Close()
	r.cfg.Getenv = func(name string) string {
		if name == "NOMAD_ADDR" {
			return front.URL
		}
		return os.Getenv(name)
	}
	points := &counter{count: map[string]int{}}
	r.cfg.Fault = points.add
	s := r.start(Nomad)
	run, err := follow(within(t), s.Client(), s.Run)
	if err != nil || run.Status != "succeeded" {
		t.Fatalf("%+v, %v", run, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	changes := 0 // begun and ended, of attempts and of the run
	for _, task := range run.Tasks {
		for _, in := range task.Instances {
			changes += 2 * len(in.Attempts)
		}
	}
	calls.mu.Lock()
	defer calls.mu.Unlock()
	points.mu.Lock()
	defer points.mu.Unlock()
	n, saves := calls.count, points.count[scheduler.FaultAfterSave]
	t.Logf("%d attempts, %d of them with an output:", attempts, outputs)
	for _, name := range slices.Sorted(maps.Keys(n)) {
		t.Logf("  %-32s %4d", name, n[name])
	}
	t.Logf("  %-32s %4d, for %d begins and ends of attempts", "saves", saves, changes)

	if n["register"] != attempts || n["output read"] != outputs {
		t.Errorf("%d registrations and %d output reads, want %d and %d", n["register"], n["output read"], attempts, outputs)
	}
	if n["validation"] > tasks {
		t.Errorf("%d validations, want at most one for each of %d tasks", n["validation"], tasks)
	}
	if saves == 0 || saves > changes+2 { // and the run's own begin and end
		t.Errorf("%d saves for %d changes", saves, changes)
	}
	for name, count := range n {
		if strings.HasPrefix(name, "else: ") {
			t.Errorf("%d calls that are neither a task's nor watching: %s", count, name)
		}
	}
}
