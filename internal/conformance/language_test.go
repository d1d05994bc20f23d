// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// partsOfLanguage are the checks of what a workflow may hold, but for the bodies of its tasks.
var partsOfLanguage = []map[string][]check{
	filesTable, workflowTable, concurrencyTable, runOutputsTable, paramTable, validationTable, localsTable, defaultsTable,
	taskTable, taskBodies, retryTable, workerLossTable, outputsTable, valuesTable, sensitiveTable, functionRules, functionsLeftOut,
	limitsTable, plannedTable, smallRules,
}

// sees plays a workflow and looks at it.
func sees(flow, script, see, want string, but ...string) check {
	return check{play: play{flow: flow, script: script, see: see}, want: want, but: but}
}

// given is the same with params.
func given(flow string, params []string, see, want string, but ...string) check {
	return check{play: play{flow: flow, params: params, see: see}, want: want, but: but}
}

// refused wants a workflow to be refused, and to be fine with what the pairs say instead.
func refused(flow, why string, but ...string) check {
	p := play{flow: flow}
	return check{want: "invalid: " + why, with: sync.OnceValue(p.verdict), without: sync.OnceValue(func() string { return fine(p.changed(but).verdict()) })}
}

// notSettled is the same for what is refused only when the params are known.
func notSettled(flow string, params []string, why string, but ...string) check {
	p := play{flow: flow, params: params}
	verdict := func(p play) string {
		if _, _, _, problem := p.compile(); problem != "" {
			return problem
		}
		return "valid"
	}
	return check{want: "invalid: " + why, with: func() string { return verdict(p) }, without: func() string { return fine(verdict(p.changed(but))) }}
}

// warned wants a workflow to be fine but for a warning, and without it with what the pairs say instead.
func warned(flow, what string, but ...string) check {
	p := play{flow: flow}
	return check{want: "warning: " + what, with: p.warning, without: func() string { return fine(p.changed(but).warning()) }}
}

// once plays a check that takes long only once, however often it is judged.
func once(c check) check {
	return check{want: c.want, with: sync.OnceValue(c.outcome), without: sync.OnceValue(c.changed(c.but).outcome)}
}

// fine insists on the other side of a check being in order: what is refused for another reason would say nothing.
func fine(verdict string) string {
	if verdict != "valid" {
		panic("the other side of a check is refused too: " + verdict)
	}
	return verdict
}

// verdict is what compiling says.
func (p play) verdict() string {
	_, diags := hcl.Compile([]workflow.File{p.file()}, "w")
	return said(diags)
}

// warning is the first warning of compiling, if nothing is worse.
func (p play) warning() string {
	_, diags := hcl.Compile([]workflow.File{p.file()}, "w")
	if diags.HasErrors() || len(diags) == 0 {
		return said(diags)
	}
	return "warning: " + diags[0].Summary + ": " + diags[0].Detail
}

func (p play) file() workflow.File {
	return workflow.File{Path: "w.hcl", Bytes: []byte("workflow \"w\" {\n" + p.flow + "\n}\n")}
}

// taskDefined tells something about the first task that a workflow compiles to.
func taskDefined(flow string, what func(t workflow.Task) string) func() string {
	return defined(flow, func(p play) string {
		def, _, _, problem := p.compile()
		if problem != "" {
			return problem
		}
		return what(def.Tasks[0])
	})
}

// bodyOf renders the body of task a of a definition, for a run of which nothing is known but what shared says.
func bodyOf(def *workflow.Definition, eval *hcl.Evaluator, shared *workflow.Shared) (workflow.Value, string) {
	for _, t := range def.Tasks {
		if t.Name != "a" {
			continue
		}
		v, err := eval.Evaluate(*t.Body, workflow.Scope{Shared: shared, Attempt: &workflow.AttemptValues{Number: 1}})
		if err != nil {
			return v, "broken: " + err.Error()
		}
		return v, ""
	}
	return workflow.Value{}, "no task a"
}

// repeat writes blocks one after the other, each with its number.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
