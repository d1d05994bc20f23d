// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// leaderBody makes a task one that needs no machine.
func (g *generator) leaderBody(t *workflow.Task) {
	kinds := []workflow.BodyKind{
		workflow.BodyApproval, workflow.BodyWait, workflow.BodyHTTP, workflow.BodyRunWorkflow, workflow.BodyRunWorkflow,
	}
	t.BodyKind = kinds[g.r.IntN(len(kinds))]
	for i := range t.Outputs {
		t.Outputs[i].From, t.Outputs[i].Pattern = workflow.FromBody, ""
	}
	text := ""
	switch t.BodyKind {
	case workflow.BodyApproval, workflow.BodyWait:
		// What bounds and repeats attempts does not reach them.
		own := workflow.DefaultPolicy()
		own.AllowFailure, own.MaxParallel, own.MinSuccess = t.Policy.AllowFailure, t.Policy.MaxParallel, t.Policy.MinSuccess
		t.Policy, t.Dynamic = own, nil
		if t.BodyKind == workflow.BodyWait {
			t.Outputs = nil
			text = g.waitText()
		} else {
			for _, name := range []string{"by", "comment"} {
				t.Outputs = append(t.Outputs, workflow.Output{
					Name: name, From: workflow.FromBody, Type: workflow.Expr{Kind: workflow.ExprConvert, Text: "string"},
				})
			}
			text = g.approvalText()
		}
	case workflow.BodyRunWorkflow:
		for i := range t.Outputs {
			t.Outputs[i].Type.Text = "any"
		}
		text = "child(" + g.body(t).Text + ")"
		if !g.kind && g.chance(0.03) {
			text = "err()"
		}
	default:
		t.Body = g.body(t)
		return
	}
	t.Body = value(text)
	t.Body.Kind = workflow.ExprBody
}

func (g *generator) waitText() string {
	switch p := g.r.Float64(); {
	case g.kind:
	case p < 0.03:
		return "wait(-5)"
	case p < 0.05:
		return "err()"
	case p < 0.3:
		return fmt.Sprintf("until(%d)", g.r.IntN(1200))
	}
	return fmt.Sprintf("wait(%d)", g.r.IntN(300))
}

func (g *generator) approvalText() string {
	timeout := 0
	if g.chance(0.6) {
		timeout = 1 + g.r.IntN(1800)
	}
	mode := g.pick("reject", "approve")
	if !g.kind && g.chance(0.03) {
		mode = "maybe"
	}
	who := g.pick("", "", `, "ada"`, `, "ada", "bob"`)
	return fmt.Sprintf("approval(%d, %q%s)", timeout, mode, who)
}
