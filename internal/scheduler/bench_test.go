// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"testing"

	"github.com/hashicorp/go-hclog"
)

// BenchmarkChain is what the scheduler itself adds to a task, from the report of its end to the start of the next one and
// back: stores and executors that cost nothing.
func BenchmarkChain(b *testing.B) {
	const tasks = 1000
	def := chain(tasks)
	for b.Loop() {
		w := newWorld()
		p := newProcess(b, w)
		p.cfg.Logger = hclog.NewNullLogger()
		p.launch()
		if head := p.wait(p.submit(def)); head.Reason != "" {
			b.Fatal(head.Reason)
		}
		if saves := len(w.saves); saves != tasks+1 {
			b.Logf("%d saves for %d tasks", saves, tasks)
		}
		if err := p.end(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/tasks, "µs/task")
}
