// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workers"
)

// everyMetric are those of a server that has all sources.
func everyMetric() *metrics {
	m := newMetrics("1.2.3")
	m.ask(sources{
		scheduler: func() scheduler.Stats {
			return scheduler.Stats{Leading: true, Epoch: 7, Active: 3, Inflight: 2, Queued: 5, Readers: 4}
		},
		nomad:   func() []nomad.Calls { return []nomad.Calls{{Kind: "register", Made: 5, Failed: 2}} },
		workers: func() map[workers.Status]int { return map[workers.Status]int{workers.Ready: 3} },
		backups: func() backup.Status {
			drill := &backup.Drill{At: time.Unix(1_769_825_800, 0)}
			return backup.Status{Backups: []backup.Manifest{{Name: "a", TakenAt: time.Unix(1_769_824_800, 0), Drill: drill}}, Drilled: "a", Overdue: true, Failed: 3}
		},
		watches: httpapi.NewWatches(1), passing: httpapi.NewWatches(1),
	})
	return m
}

func TestEveryMetricIsInTheReadme(t *testing.T) {
	described := make(chan *prometheus.Desc)
	go func() {
		everyMetric().registry.Describe(described)
		close(described)
	}()
	parts := regexp.MustCompile(`fqName: "(\w+)", help: "(.*)", constLabels: \{\}, variableLabels: \{(.*)\}\}`)
	var got []string
	for d := range described {
		if text := d.String(); strings.Contains(text, `"go_`) || strings.Contains(text, `"process_`) {
			continue
		}
		found := parts.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("nobody can read %s", d)
		}
		labels := ""
		if found[3] != "" {
			labels = " `" + strings.ReplaceAll(found[3], ",", "`, `") + "`"
		}
		got = append(got, "| `"+found[1]+"` |"+labels+" | "+found[2]+" |")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `cairn_") {
			want = append(want, strings.TrimSpace(line))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-README +registry):\n%s", d)
	}
}

func TestMetricsSayWhatHappened(t *testing.T) {
	m := everyMetric()
	m.saved(20*time.Millisecond, nil)
	m.saved(time.Second, errors.New("no"))
	m.transaction(consul.Transaction{Kind: "write", Ops: 3, Bytes: 100, Took: time.Millisecond})
	m.transaction(consul.Transaction{Kind: "write", Ops: 2, Bytes: 50, Err: errors.New("no")})
	m.forwarded("again")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/run/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	h := m.counting(mux)
	for _, path := range []string{"/v1/run/a", "/v1/run/b", "/made/up"} {
		func() {
			defer func() {
				if p := recover(); p != nil && p != http.ErrAbortHandler {
					panic(p)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		}()
	}
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`cairn_build_info{version="1.2.3"} 1`, "cairn_leader 1", "cairn_epoch 7", "cairn_runs_active 3", "cairn_attempts_inflight 2",
		"cairn_admission_queue 5", "cairn_news_readers 4", "cairn_watches 0", "cairn_watches_refused_total 0", "cairn_forwarding 0",
		`cairn_save_seconds_count{outcome="ok"} 1`, `cairn_save_seconds_bucket{outcome="ok",le="0.032"} 1`, `cairn_save_seconds_count{outcome="error"} 1`,
		`cairn_consul_transactions_total{kind="write",outcome="ok"} 1`, `cairn_consul_transactions_total{kind="write",outcome="error"} 1`,
		`cairn_consul_operations_total{kind="write"} 5`, `cairn_consul_bytes_total{kind="write"} 150`, `cairn_consul_transaction_seconds_count{kind="write"} 2`,
		`cairn_nomad_calls_total{kind="register",outcome="ok"} 3`, `cairn_nomad_calls_total{kind="register",outcome="error"} 2`,
		`cairn_forwards_total{outcome="again"} 1`, "cairn_backup_newest_timestamp_seconds 1.7698248e+09", "cairn_backup_overdue 1", "cairn_backup_failures_total 3",
		"cairn_backup_drilled_timestamp_seconds 1.7698258e+09",
		`cairn_http_requests_total{route="/v1/run/{id}",status="418"} 2`, `cairn_http_requests_total{route="other",status="200"} 1`,
	} {
		if !strings.Contains("\n"+w.Body.String(), "\n"+line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	if t.Failed() {
		t.Log(w.Body.String())
	}
}

// metricsOf reads the metrics of a server.
func metricsOf(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
	return string(b)
}
