// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

// nested are the documents of a run's child runs, by ID: those that were read.
type nested map[string]*api.Run

// maxChildren bounds how many child runs are read along with their parent.
const maxChildren = 16

// childOf is the run that the newest attempt of an instance started; empty when there is none.
func childOf(in *api.Instance) string {
	if n := len(in.Attempts); n > 0 {
		return in.Attempts[n-1].Child
	}
	return ""
}

// childrenOf are the child runs of a document, the first ones, those in flight only if so wanted.
func childrenOf(run *api.Run, inFlight bool) []string {
	var out []string
	for n := range run.Tasks {
		for i := range run.Tasks[n].Instances {
			in := &run.Tasks[n].Instances[i]
			if child := childOf(in); child != "" && len(out) < maxChildren && (!inFlight || !api.Over(in.Status)) {
				out = append(out, child)
			}
		}
	}
	return out
}

// readChildren reads the documents of a run's child runs. One that cannot be read is left out: its ID is shown anyway.
func readChildren(ctx context.Context, c *client.Client, run *api.Run) nested {
	out := nested{}
	for _, id := range childrenOf(run, false) {
		if child, err := c.Run(ctx, id); err == nil {
			out[id] = child
		}
	}
	return out
}

// standing is how a child run stands, in a few words.
func (k nested) standing(id string) string {
	child := k[id]
	if child == nil {
		return "run " + id
	}
	return fmt.Sprintf("run %s %s%s", id, child.Status, progress(child))
}

// progress is how far a run that goes on has come.
func progress(run *api.Run) string {
	if run.Terminal() {
		return ""
	}
	over := 0
	for n := range run.Tasks {
		if api.Over(run.Tasks[n].Status) {
			over++
		}
	}
	return fmt.Sprintf(", %d of %d tasks over", over, len(run.Tasks))
}

// openQuestions are the approvals that a run and its child runs wait for, each as the command that gives it.
func openQuestions(run *api.Run, children nested) []string {
	var out []string
	for _, q := range questions(run) {
		out = append(out, q.command(run.ID))
	}
	for _, id := range childrenOf(run, true) {
		if child := children[id]; child != nil {
			for _, q := range questions(child) {
				out = append(out, q.command(id))
			}
		}
	}
	return out
}

// command is what approves.
func (q question) command(run string) string {
	text := "cairn runs approve"
	for _, in := range q.ask.Inputs {
		if in.Default == nil {
			text += " -input " + in.Name + "=…"
		}
	}
	return text + " " + run + " " + q.String()
}

// waitsFor is what an instance waits for that is no machine: nothing for all others.
func waitsFor(in *api.Instance, now time.Time) string {
	switch {
	case in.Approval != nil:
		text := "waits for approval"
		if who := in.Approval.Approvers; len(who) > 0 {
			text += " by " + clean(strings.Join(who, ", "))
		}
		if until := in.Approval.Until; !until.IsZero() {
			outcome := "rejected"
			if in.Approval.OnTimeout == "approve" {
				outcome = "approved"
			}
			text += fmt.Sprintf(", %s in %s", outcome, lasting(until.Sub(now)))
		}
		return text
	case in.Wait != nil:
		return "ends in " + lasting(in.Wait.Until.Sub(now))
	}
	return ""
}

// askLines describe an open approval.
func askLines(ask *api.Approval) []string {
	var out []string
	if !ask.Since.IsZero() {
		line := "asked " + moment(ask.Since)
		if !ask.Until.IsZero() {
			line += ", until " + moment(ask.Until)
		}
		out = append(out, line)
	}
	for _, in := range ask.Inputs {
		line := "input " + in.Name + " " + in.Type
		if in.Default == nil {
			line += ", to be given"
		} else {
			line += ", else " + cut(valueText(in.Default), maxValue)
		}
		out = append(out, line)
	}
	return out
}
