// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// policy draws how attempts are bounded and repeated.
func (g *generator) policy() workflow.Policy {
	p := workflow.DefaultPolicy()
	if g.kind {
		p.Retry = g.retry()
		return p
	}
	if g.chance(0.25) {
		p.Timeout = g.duration(5*time.Second, 3*time.Minute)
	}
	if g.chance(0.2) {
		p.StartTimeout = g.duration(5*time.Second, 2*time.Minute)
	}
	if g.chance(0.2) {
		p.Deadline = g.duration(10*time.Second, 8*time.Minute)
	}
	p.AllowFailure = g.chance(0.12)
	if g.chance(0.6) {
		p.Retry = g.retry()
	}
	if g.chance(0.5) {
		p.OnWorkerLoss.Mode = workflow.Immediate
	}
	return p
}

func (g *generator) retry() workflow.Retry {
	r := workflow.Retry{
		MaxAttempts: 1 + g.r.IntN(5),
		Delay:       g.duration(0, time.Minute),
		Backoff:     workflow.BackoffExponential,
		Jitter:      []float64{0, 0.1, 0.5, 1}[g.r.IntN(4)],
		AvoidNodes:  g.chance(0.3),
		MaxLost:     g.r.IntN(4),
	}
	r.MaxDelay = max(r.Delay, g.duration(0, 5*time.Minute))
	if g.chance(0.3) {
		r.Backoff = workflow.BackoffConstant
	}
	if g.chance(0.25) {
		for code := 1; code <= 3; code++ {
			if g.chance(0.5) {
				r.OnExitCodes = append(r.OnExitCodes, code)
			}
		}
	}
	if g.chance(0.2) {
		r.When = value(g.pick("not(eq(exit(), 2))", `eq(reason(), "failed")`, `eq(reason(), "timed_out")`, "eq(number(), 1)", "err()", "true", "1"))
	}
	return r
}

// dynamic makes some policy attributes expressions.
func (g *generator) dynamic(t *workflow.Task) {
	choices := []struct {
		attr    string
		perTask bool
		exprs   []string
	}{
		{"timeout", false, []string{`"30s"`, `"1m"`, `"90s"`}},
		{"start_timeout", false, []string{`"20s"`, `"1m30s"`}},
		{"deadline", false, []string{`"45s"`, `"5m"`}},
		{"allow_failure", false, []string{"true", "false", `eq(param("n"), 3)`}},
		{"max_parallel", true, []string{"1", "2"}},
		{"min_success", true, []string{"1", "2", `"50%"`, `"100%"`}},
		{"retry.max_attempts", false, []string{"1", "2", "3"}},
		{"retry.delay", false, []string{`"3s"`, `"10s"`}},
		{"retry.backoff", false, []string{`"constant"`, `"exponential"`}},
		{"retry.max_delay", false, []string{`"10m"`, `"20m"`}},
		{"retry.jitter", false, []string{"0", "0.25"}},
		{"retry.on_exit_codes", false, []string{"list(1, 2)", "list(3)"}},
		{"retry.avoid_nodes", false, []string{"true", "false"}},
		{"retry.max_lost", false, []string{"0", "1", "2"}},
		{"on_worker_loss.mode", false, []string{`"immediate"`, `"wait_for_stop"`}},
		{"on_worker_loss.stop_after", false, []string{`"5m"`}},
	}
	for range 1 + g.r.IntN(3) {
		c := choices[g.r.IntN(len(choices))]
		if c.perTask && t.ForEach == nil && t.Count == nil {
			continue
		}
		taken := false
		for _, d := range t.Dynamic {
			taken = taken || d.Attr == c.attr
		}
		if taken {
			continue
		}
		text := c.exprs[g.r.IntN(len(c.exprs))]
		if g.chance(0.06) {
			text = g.pick("err()", "true", `"soon"`)
			if c.attr == "allow_failure" || c.attr == "retry.avoid_nodes" {
				text = "err()"
			}
		}
		t.Dynamic = append(t.Dynamic, workflow.PolicyExpr{Attr: c.attr, Expr: *value(text), PerTask: c.perTask})
	}
}
