// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// plan is what a job will do when nobody interferes; drawn when it is accepted.
type plan struct {
	delay, run time.Duration
	held       time.Duration // how long it cannot be placed
	stuck      bool          // … because no worker could ever run it
	hang       bool          // never ends by itself
	never      bool          // ends with kind before it starts
	kind       engine.OutcomeKind
	message    string
	exit       int
	signal     int
	oom        bool
	output     []byte
	stdout     []byte
	outputLost bool
	values     map[string]workflow.Value
	moves      bool // the executor replaces its allocation by itself, under the same attempt
	strays     bool // after a loss, the worker comes back
}

func (p plan) String() string {
	what := string(p.kind)
	if p.kind == engine.OutcomeExited {
		what = fmt.Sprintf("exits %d", p.exit)
	}
	if p.hang {
		what = "hangs"
	}
	return fmt.Sprintf("%s after %s, held %s", what, p.run.Truncate(time.Millisecond), p.held.Truncate(time.Millisecond))
}

// outcome is how the job ends by itself.
func (p plan) outcome(j *job) engine.Outcome {
	o := engine.Outcome{Kind: p.kind, Message: p.message}
	if p.kind == engine.OutcomeExited {
		if p.signal == 0 {
			code := p.exit
			o.ExitCode = &code
		}
		o.Signal, o.OOM = p.signal, p.oom
		o.Output, o.OutputsLost, o.Values = p.output, p.outputLost, p.values
		if j.start.WantStdout {
			o.Stdout = p.stdout
		}
	}
	return o
}

// plan draws what a job will do.
func (w *world) plan(j *job) plan {
	if !j.start.Kind.Cluster() {
		return w.childPlan(j)
	}
	f := &w.profile
	p := plan{
		delay: w.between(0, f.slowStart), run: w.between(0, f.slowRun), kind: engine.OutcomeExited,
		strays: w.chance(0.5), output: w.output(j), stdout: []byte("starting\nrows=12\n"),
	}
	p.moves = w.chance(f.lostWorker)
	if w.chance(0.1) {
		p.stdout = [][]byte{nil, []byte("\n\n"), []byte("none\n"), []byte("5\n")}[w.r.IntN(4)]
	}
	if w.chance(f.held) {
		p.held, p.stuck = w.between(time.Second, 20*time.Minute), w.chance(0.3)
	}
	bounded := w.bounded(j)
	switch x := w.r.Float64(); {
	case x < f.fail:
		p.exit = 1 + w.r.IntN(3)
		switch {
		case w.chance(0.15):
			p.signal = 9
		case w.chance(0.15):
			p.signal, p.oom = 9, true
		}
	case x < f.fail+f.odd:
		switch w.r.IntN(6) {
		case 0:
			p.never, p.kind, p.message = true, engine.OutcomeError, "driver: no such image"
		case 1:
			p.never, p.kind, p.message = true, engine.OutcomeInvalid, "unknown driver"
		case 2:
			p.kind = engine.OutcomeTimedOut
		case 3:
			p.kind = engine.OutcomeInterrupted
		case 4:
			p.outputLost, p.output, p.stdout = true, nil, nil
		case 5:
			p.hang = bounded
		}
	case x < f.fail+f.odd+f.lostWorker:
		p.kind, p.message = engine.OutcomeLost, "its worker went away"
		if w.chance(0.3) {
			p.kind, p.message = engine.OutcomeEvicted, "its worker was drained"
		}
	}
	return p
}

// bounded reports whether something ends the attempt if it does not end by itself.
func (w *world) bounded(j *job) bool {
	t := &w.def.Tasks[j.at.task]
	for _, d := range t.Dynamic {
		if d.Attr == "timeout" {
			return true
		}
	}
	return t.Policy.Timeout > 0 || t.Policy.Deadline > 0 || t.Kind == workflow.KindFinally || w.def.Timeout > 0
}

// output draws the output file of a successful process: right, wrong, missing, as lines or as JSON.
func (w *world) output(j *job) []byte {
	var lines, fields []string
	for _, o := range w.def.Tasks[j.at.task].Outputs {
		if o.From != workflow.FromFile || w.chance(w.profile.badOutput) {
			continue
		}
		text := fmt.Sprint(w.r.IntN(6))
		if w.chance(w.profile.badOutput) {
			text = "much"
		}
		lines = append(lines, o.Name+"="+text)
		fields = append(fields, fmt.Sprintf("%q: %q", o.Name, text))
	}
	if w.chance(0.05) {
		lines = append(lines, "undeclared=1")
	}
	if len(fields) > 0 && w.chance(0.3) {
		return []byte("{" + strings.Join(fields, ", ") + "}")
	}
	return []byte(strings.Join(append(lines, ""), "\n"))
}

func describeOutcome(o *engine.Outcome) string {
	code := "-"
	if o.ExitCode != nil {
		code = fmt.Sprint(*o.ExitCode)
	}
	return fmt.Sprintf("%s exit=%s signal=%d %q %s", o.Kind, code, o.Signal, o.Output, o.Message)
}

// pickNode chooses a worker, and holds that it is not one to avoid.
func (w *world) pickNode(j *job) string {
	if j.start.Kind != "" && !j.start.Kind.Cluster() {
		return ""
	}
	for {
		node := fmt.Sprintf("n%d", w.r.IntN(5))
		avoided := false
		for _, a := range j.start.AvoidNodes {
			avoided = avoided || a == node
		}
		if !avoided || len(j.start.AvoidNodes) >= 4 {
			return node
		}
	}
}
