// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

const (
	loadTasks  = 20              // in a chain, of every run
	loadWindow = 2 * time.Minute // in which is measured
)

// setting is a number that the environment may set.
func setting(b *testing.B, name string, standard int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s: want a number above 0", name, text)
	}
	return n
}

// BenchmarkLoad: a thousand runs at once, each a chain of twenty tasks of mock_driver, at a rate that Nomad and the machine
// sustain twice over: CAIRN_BENCH_RATE tasks a second, 5 by default. It tells what that takes of Consul and of the leader, and how
// long after Nomad has told of the end of a task its successor is submitted: 20 ms in the middle, 100 ms for one of a hundred.
// Nomad tells of an end at least 50 ms after a worker has: it takes that long to collect more of them.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		n, rate := setting(b, "CAIRN_BENCH_RUNS", 1000), setting(b, "CAIRN_BENCH_RATE", 5)
		s := newServers(b, 3)
		leader := s.leader(nil)
		s.chains(leader, n, rate)
		told := s.ends()
		began, before, cpu := time.Now(), leader.metrics(b), leader.cpu(b)
		s.pass(loadWindow)
		after, used, lasted := leader.metrics(b), leader.cpu(b)-cpu, time.Since(began)
		ends := told()
		ended, latencies := len(ends), s.latencies(ends)
		if len(latencies) == 0 {
			b.Fatal("no task has ended")
		}
		seconds := lasted.Seconds()
		per := func(name string) float64 { return after[name] - before[name] }
		b.Logf("%d runs at once, %.1f tasks a second", n, float64(ended)/seconds)
		for _, kind := range []string{"write", "read"} {
			transactions := per(fmt.Sprintf("cairn_consul_transaction_seconds_count{kind=%q}", kind))
			operations, bytes := per(fmt.Sprintf("cairn_consul_operations_total{kind=%q}", kind)), per(fmt.Sprintf("cairn_consul_bytes_total{kind=%q}", kind))
			took := per(fmt.Sprintf("cairn_consul_transaction_seconds_sum{kind=%q}", kind))
			b.Logf("Consul, %s: %.1f transactions a second of %.1f ms; a task takes %.2f, with %.1f operations and %.0f bytes", kind,
				transactions/seconds, 1000*took/transactions, transactions/float64(ended), operations/float64(ended), bytes/float64(ended))
		}
		b.Logf("leader: %.1f%% of a processor, %.0f MiB at most", 100*used.Seconds()/seconds, peakOf(leader.Process.Pid, s.cairn))
		p99 := latencies[len(latencies)*99/100]
		report(b, fmt.Sprintf("from the end of a task to the submission of its successor, %d of them", len(latencies)), "ms", latencies, 20)
		report(b, "the same for one of a hundred", "ms", []float64{p99}, 100)
	}
}

// chains begins n runs of loadTasks tasks one after the other, of which so many end a second, and returns when a quarter of the
// runs is in its second task.
func (s *servers) chains(leader *member, n, rate int) {
	s.b.Helper()
	length := time.Duration(n) * time.Second / time.Duration(rate) // of a task: n of them go on at once
	var text strings.Builder
	text.WriteString("workflow \"chain\" {\n  param \"first\" {\n    type = number\n  }\n")
	text.WriteString(strings.Replace(mock("t0", "", 0), `run_for = "0s"`, `run_for = "${param.first}ms"`, 1))
	for i := 1; i < loadTasks; i++ {
		text.WriteString(mock(fmt.Sprintf("t%d", i), fmt.Sprintf("depends_on = [task.t%d]", i-1), length))
	}
	text.WriteString("}\n")
	s.submit(leader, "chain", text.String(), n, func(i int) map[string]json.RawMessage {
		return map[string]json.RawMessage{"first": json.RawMessage(strconv.FormatInt((length * time.Duration(i+1) / time.Duration(n)).Milliseconds(), 10))}
	})
	s.pass(length / 4)
}

// pass lets time pass.
func (s *servers) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.b.Context().Done():
	}
}

// metrics reads what a server tells Prometheus.
func (m *member) metrics(b *testing.B) map[string]float64 {
	b.Helper()
	answer, err := http.Get("http://" + m.address + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	found := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			found[name] = n
		}
	}
	return found
}

// cpu is the processor time that a server has used.
func (m *member) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	ticks := 0
	for _, f := range fields[11:13] { // user and system, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ends listens to Nomad until what it returns is called, which tells when Nomad has told of the end of each job's allocation.
func (s *servers) ends() (told func() map[string]time.Time) {
	s.b.Helper()
	ctx, cancel := context.WithCancel(s.b.Context())
	nomad := s.nomad.Client()
	topics := map[nomadapi.Topic][]string{nomadapi.TopicAllocation: {"*"}}
	_, meta, err := nomad.Jobs().List(nil)
	if err != nil {
		s.b.Fatal(err)
	}
	stream, err := nomad.EventStream().Stream(ctx, topics, meta.LastIndex, nil)
	if err != nil {
		s.b.Fatal(err)
	}
	at := map[string]time.Time{}
	var group sync.WaitGroup
	group.Go(func() {
		began := time.Now()
		for events := range stream {
			now := time.Now()
			if events.Err != nil {
				if ctx.Err() == nil {
					s.b.Errorf("Nomad's events: %v", events.Err)
				}
				return
			}
			for _, e := range events.Events {
				alloc, err := e.Allocation()
				if err != nil {
					s.b.Errorf("Nomad's events: %v", err)
					return
				}
				// The stream begins with what happened before it.
				if alloc.ClientStatus == "complete" && at[alloc.JobID].IsZero() && time.Unix(0, alloc.ModifyTime).After(began) {
					at[alloc.JobID] = now
				}
			}
		}
	})
	return func() map[string]time.Time {
		cancel()
		group.Wait()
		nomad.Close()
		return at
	}
}

// latencies are, of jobs that have a successor, the milliseconds from the moment that Nomad told of their end to the moment that
// it took the job of the successor.
func (s *servers) latencies(ends map[string]time.Time) (sortedMillis []float64) {
	s.b.Helper()
	nomad := s.nomad.Client()
	defer nomad.Close()
	jobs, _, err := nomad.Jobs().List(nil)
	if err != nil {
		s.b.Fatal(err)
	}
	submitted := map[string]int64{}
	for _, job := range jobs {
		submitted[placeOf(s.b, job.ID, 0)] = job.SubmitTime
	}
	for job, at := range ends {
		if next, ok := submitted[placeOf(s.b, job, 1)]; ok {
			sortedMillis = append(sortedMillis, float64(next-at.UnixNano())/1e6)
		}
	}
	return sorted(sortedMillis)
}

// placeOf is the run and the number of the task in the ID of a job, so many tasks later.
func placeOf(b *testing.B, job string, later int) string {
	parts := strings.Split(job, "-") // cairn, cluster, run, name of the task, number of the task, instance, attempt
	n, err := strconv.Atoi(parts[len(parts)-3])
	if err != nil || len(parts) < 7 {
		b.Fatalf("job %s is not one of Cairn's", job)
	}
	return fmt.Sprintf("%s %d", parts[2], n+later)
}
