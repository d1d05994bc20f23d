// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// policyAttr is one attribute of a task's policy: what it wants, and where its value goes.
type policyAttr struct {
	path string // as in workflow.PolicyExpr
	kind kind
	set  func(*workflow.Policy, cty.Value)
}

var policyAttrs = []policyAttr{
	{"timeout", kindDuration, func(p *workflow.Policy, v cty.Value) { p.Timeout = duration(v) }},
	{"start_timeout", kindDuration, func(p *workflow.Policy, v cty.Value) { p.StartTimeout = duration(v) }},
	{"deadline", kindDuration, func(p *workflow.Policy, v cty.Value) { p.Deadline = duration(v) }},
	{"allow_failure", kindBool, func(p *workflow.Policy, v cty.Value) { p.AllowFailure = v.True() }},
	{"max_parallel", kindWhole(1, workflow.MaxInstances), func(p *workflow.Policy, v cty.Value) { p.MaxParallel, _ = whole(v) }},
	{"min_success", kindMinSuccess, func(p *workflow.Policy, v cty.Value) { p.MinSuccess, _ = minSuccess(v) }},
	{"retry.max_attempts", kindWhole(1, workflow.MaxPolicyAttempts), func(p *workflow.Policy, v cty.Value) { p.Retry.MaxAttempts, _ = whole(v) }},
	{"retry.delay", kindDuration, func(p *workflow.Policy, v cty.Value) { p.Retry.Delay = duration(v) }},
	{"retry.backoff", kindWord(workflow.BackoffConstant, workflow.BackoffExponential), func(p *workflow.Policy, v cty.Value) { p.Retry.Backoff = workflow.Backoff(v.AsString()) }},
	{"retry.max_delay", kindDuration, func(p *workflow.Policy, v cty.Value) { p.Retry.MaxDelay = duration(v) }},
	{"retry.jitter", kindFraction, func(p *workflow.Policy, v cty.Value) { p.Retry.Jitter, _ = v.AsBigFloat().Float64() }},
	{"retry.on_exit_codes", kindExitCodes, setExitCodes},
	{"retry.avoid_nodes", kindBool, func(p *workflow.Policy, v cty.Value) { p.Retry.AvoidNodes = v.True() }},
	{"retry.max_lost", kindWhole(0, workflow.MaxPolicyAttempts), func(p *workflow.Policy, v cty.Value) { p.Retry.MaxLost, _ = whole(v) }},
	{"on_worker_loss.mode", kindWord(workflow.WaitForStop, workflow.Immediate), func(p *workflow.Policy, v cty.Value) {
		p.OnWorkerLoss.Mode = workflow.WorkerLossMode(v.AsString())
	}},
	{"on_worker_loss.stop_after", kindDuration, func(p *workflow.Policy, v cty.Value) { p.OnWorkerLoss.StopAfter = duration(v) }},
}

// fanOutAttrs mean something for tasks with instances only.
var fanOutAttrs = map[string]bool{"max_parallel": true, "min_success": true}

func setExitCodes(p *workflow.Policy, v cty.Value) {
	p.Retry.OnExitCodes = make([]int, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		n, _ := whole(e)
		p.Retry.OnExitCodes = append(p.Retry.OnExitCodes, n)
	}
}

// decodePolicy finds the expressions of the policy in the merged body.
func (d *decoder) decodePolicy(t *task) {
	if t.spec != nil {
		t.body = d.beneath(t)
	}
	body := t.body
	refused := map[string]string{}
	if t.spec != nil {
		refused = t.spec.refused // reported
	}
	blocks := map[string]*hclsyntax.Body{"": body}
	for _, b := range body.Blocks {
		switch {
		case refused[b.Type] != "":
		case b.Type == "retry", b.Type == "on_worker_loss":
			d.labels(b)
			if blocks[b.Type] != nil {
				d.errorf(b.TypeRange, "Duplicate block", "task %s has %s twice. Put everything into one block.", t.name, b.Type)
				continue
			}
			blocks[b.Type] = b.Body
		}
	}
	if b := blocks["retry"]; b != nil {
		d.checkWords(b, retryWords, nil)
		if t.kindOfBody == workflow.BodyHTTP || t.kindOfBody == workflow.BodyRunWorkflow {
			for _, attr := range attrsInOrder(b) {
				if why := withoutWorker[attr.Name]; why != "" {
					d.errorf(attr.NameRange, "Not with this body", "The body of task %s is %s, so %s cannot be written in its retry. %s", t.name, t.content.Type, attr.Name, why)
				}
			}
		}
		t.retryWhen = t.site(b, "when", accessRetry, kindBool)
		if t.retryWhen != nil {
			t.retryWhen.name = fmt.Sprintf("`retry.when` of task %s", t.name)
		}
	}
	if b := blocks["on_worker_loss"]; b != nil {
		d.checkWords(b, workerLossWords, nil)
	}
	for _, a := range policyAttrs {
		block, name, nested := strings.Cut(a.path, ".")
		if !nested {
			block, name = "", a.path
		}
		if blocks[block] == nil {
			continue
		}
		allowed := accessEach
		if workflow.PerTaskAttr(a.path) {
			allowed = accessTask
		}
		if fanOutAttrs[a.path] && !t.fanned() || refused[name] != "" && block == "" {
			continue
		}
		if s := t.site(blocks[block], name, allowed, a.kind); s != nil {
			s.name = fmt.Sprintf("`%s` of task %s", a.path, t.name)
			t.policy[a.path] = s
		}
	}
}

// checkDelays judges attributes that only make sense together, as far as they are constant.
func (c *checker) checkDelays(t *task, p *workflow.Policy) {
	delay, written := t.policy["retry.delay"], t.policy["retry.max_delay"]
	switch {
	case c.dynamic[delay] || c.dynamic[written]:
	case written == nil:
		p.Retry.MaxDelay = max(defaultMaxDelay, p.Retry.Delay)
	case p.Retry.MaxDelay < p.Retry.Delay:
		c.errorf(written.expr.Range(), "Delays that contradict", "`max_delay` of task %s is %s, less than its delay of %s. Make it at least as long, or leave it out.",
			t.name, p.Retry.MaxDelay, p.Retry.Delay)
	}
}

// defaultMaxDelay is what max_delay is when nobody writes it and the delay is not larger still.
const defaultMaxDelay = 5 * time.Minute
