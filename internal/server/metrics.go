// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workers"
)

// metrics are what /metrics tells of a server. The README of this package lists them.
type metrics struct {
	registry *prometheus.Registry

	saves          *prometheus.HistogramVec
	transactions   *prometheus.CounterVec
	transactionOps *prometheus.CounterVec
	bytes          *prometheus.CounterVec
	latency        *prometheus.HistogramVec
	requests       *prometheus.CounterVec
	forwards       *prometheus.CounterVec
}

// sources are asked when somebody reads the metrics. Nil: that is not to be had here.
type sources struct {
	scheduler func() scheduler.Stats
	nomad     func() []nomad.Calls
	workers   func() map[workers.Status]int
	backups   func() backup.Status
	watches   *httpapi.Watches
	passing   *httpapi.Watches
}

// From half a millisecond to what a call may take at most.
var latencies = prometheus.ExponentialBuckets(0.0005, 2, 15)

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histograms := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencies}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.saves = histograms("cairn_save_seconds", "Saves of runs by this leader, and how long each took.", "outcome")
	m.transactions = counters("cairn_consul_transactions_total", "Transactions with Consul.", "kind", "outcome")
	m.transactionOps = counters("cairn_consul_operations_total", "Operations in transactions with Consul.", "kind")
	m.bytes = counters("cairn_consul_bytes_total", "Bytes of keys and values in transactions with Consul.", "kind")
	m.latency = histograms("cairn_consul_transaction_seconds", "How long transactions with Consul took.", "kind")
	m.requests = counters("cairn_http_requests_total", "Requests that this server has answered itself.", "route", "status")
	m.forwards = counters("cairn_forwards_total", "Requests passed on to the leader: answered, tried again, given up, or refused.", "outcome")
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cairn_build_info", Help: "Always 1; the label is the version."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ask adds what is asked for with every reading.
func (m *metrics) ask(s sources) {
	gauge := func(name, help string, of func(scheduler.Stats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return of(s.scheduler()) }))
	}
	gauge("cairn_leader", "1 on the server that leads, 0 on the others.", func(s scheduler.Stats) float64 {
		if s.Leading {
			return 1
		}
		return 0
	})
	gauge("cairn_epoch", "Epoch of this server's leadership; 0 while it does not lead.", func(s scheduler.Stats) float64 { return float64(s.Epoch) })
	gauge("cairn_runs_active", "Runs that this leader drives.", func(s scheduler.Stats) float64 { return float64(s.Active) })
	gauge("cairn_attempts_inflight", "Attempts that have a place below limits.max_inflight.", func(s scheduler.Stats) float64 { return float64(s.Inflight) })
	gauge("cairn_admission_queue", "Instances that wait for such a place.", func(s scheduler.Stats) float64 { return float64(s.Queued) })
	gauge("cairn_news_readers", "Streams of events and blocked lists that wait for news.", func(s scheduler.Stats) float64 { return float64(s.Readers) })
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_watches", Help: "Requests that wait at this server, bounded by limits.max_watches."},
			func() float64 { return float64(s.watches.Now()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cairn_watches_refused_total", Help: "Requests that were refused because too many wait."},
			func() float64 { return float64(s.watches.Refused()) }))
	if s.passing != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "cairn_forwarding", Help: "Requests that are with the leader at the moment."},
			func() float64 { return float64(s.passing.Now()) }))
	}
	if s.workers != nil {
		m.registry.MustRegister(workerCounts{
			desc: prometheus.NewDesc("cairn_workers", "Workers by how they are, as the leader last saw them; nothing on other servers.", []string{"status"}, nil), ask: s.workers,
		})
	}
	if s.backups != nil {
		m.askBackups(s.backups)
	}
	if s.nomad != nil {
		m.registry.MustRegister(nomadCalls{
			desc: prometheus.NewDesc("cairn_nomad_calls_total", "Calls to Nomad by what they are for.", []string{"kind", "outcome"}, nil), ask: s.nomad,
		})
	}
}

// askBackups adds how backups stand: what an alarm is made of.
func (m *metrics) askBackups(status func() backup.Status) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_backup_newest_timestamp_seconds", Help: "When the newest backup was taken that this leader knows; 0 where it knows none."},
			func() float64 {
				if s := status(); len(s.Backups) > 0 {
					return float64(s.Backups[0].TakenAt.Unix())
				}
				return 0
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_backup_overdue", Help: "1 on a leader whose newest backup is older than twice the interval, else 0."},
			func() float64 {
				if status().Overdue {
					return 1
				}
				return 0
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_backup_drilled_timestamp_seconds", Help: "When a backup was last restored for a try and read, with success, that this leader knows; 0 where it knows of none, or the last try failed."},
			func() float64 {
				s := status()
				known := api.Backups{Backups: s.Backups, Drilled: s.Drilled}
				if last := known.LastDrilled(); last != nil && last.Drill.Good() {
					return float64(last.Drill.At.Unix())
				}
				return 0
			}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cairn_backup_failures_total", Help: "Backups that this server could not take."},
			func() float64 { return float64(status().Failed) }))
}

// workerCounts collects how many workers are how.
type workerCounts struct {
	desc *prometheus.Desc
	ask  func() map[workers.Status]int
}

// Describe implements prometheus.Collector.
func (c workerCounts) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c workerCounts) Collect(to chan<- prometheus.Metric) {
	for status, n := range c.ask() {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), string(status))
	}
}

// nomadCalls collects the counters of the executor.
type nomadCalls struct {
	desc *prometheus.Desc
	ask  func() []nomad.Calls
}

// Describe implements prometheus.Collector.
func (n nomadCalls) Describe(to chan<- *prometheus.Desc) { to <- n.desc }

// Collect implements prometheus.Collector.
func (n nomadCalls) Collect(to chan<- prometheus.Metric) {
	for _, c := range n.ask() {
		to <- prometheus.MustNewConstMetric(n.desc, prometheus.CounterValue, float64(max(c.Made-c.Failed, 0)), c.Kind, "ok")
		to <- prometheus.MustNewConstMetric(n.desc, prometheus.CounterValue, float64(c.Failed), c.Kind, "error")
	}
}

func outcome(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// saved is told of every save of the scheduler.
func (m *metrics) saved(took time.Duration, err error) {
	m.saves.WithLabelValues(outcome(err)).Observe(took.Seconds())
}

// transaction is told of every transaction with Consul.
func (m *metrics) transaction(t consul.Transaction) {
	m.transactions.WithLabelValues(t.Kind, outcome(t.Err)).Inc()
	m.transactionOps.WithLabelValues(t.Kind).Add(float64(t.Ops))
	m.bytes.WithLabelValues(t.Kind).Add(float64(t.Bytes))
	m.latency.WithLabelValues(t.Kind).Observe(t.Took.Seconds())
}

func (m *metrics) forwarded(outcome string) { m.forwards.WithLabelValues(outcome).Inc() }

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})
}

// counting counts the answers of the API by route: as many as there are, whatever paths callers make up.
func (m *metrics) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { // also where the answer broke off
			route := r.Pattern
			if _, path, ok := strings.Cut(route, " "); ok {
				route = path
			}
			if route == "/" || route == "" {
				route = "other"
			}
			m.requests.WithLabelValues(route, strconv.Itoa(s.status)).Inc()
		}()
		next.ServeHTTP(s, r)
	})
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
