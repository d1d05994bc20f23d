// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Options say what a seed is run with.
type Options struct {
	Faults Faults
	// Tasks bounds the number of normal tasks; 0 = as many as the seed draws.
	Tasks int
	// Events bounds what may happen before the run counts as hanging; 0 = a million.
	Events int
	// Transcript keeps a line for everything that happens.
	Transcript bool
}

// Result is what became of one seed.
type Result struct {
	Seed       uint64
	Violation  string // empty: everything held
	Transcript []string
	Definition *workflow.Definition
	Stats      *Stats
	Steps      int
}

// Run runs one seed to its end, or to the first promise that the engine breaks.
func Run(seed uint64, opt Options) (res Result) {
	w := newWorld(seed, opt)
	res = Result{Seed: seed, Definition: w.def, Stats: w.stats}
	defer func() {
		res.Transcript, res.Steps = w.lines, w.steps
		switch x := recover().(type) {
		case nil:
		case violation:
			res.Violation = x.text
		default:
			res.Violation = fmt.Sprintf("panic: %v\n%s", x, debug.Stack())
		}
	}()
	w.run()
	return res
}

func newWorld(seed uint64, opt Options) *world {
	// Two streams: with fewer tasks, or fewer faults, the rest of a seed stays similar.
	drawn := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		seed: seed, limit: maxEvents, r: rand.New(rand.NewPCG(seed, 2)), faults: opt.Faults, verbose: opt.Transcript,
		def: generate(drawn, opt.Tasks), eval: newEvaluator(), now: epoch0, store: newStore(), stats: NewStats(),
		fences: map[place]int64{}, flying: map[workflow.AttemptID]int{}, scopes: map[scopeKey]workflow.Scope{},
		resets: map[int]*resetWant{}, verdicts: map[workflow.AttemptID]workflow.Verdict{}, bodies: map[workflow.AttemptID]string{},
	}
	if opt.Events > 0 {
		w.limit = opt.Events
	}
	m, err := engine.New(w.def, newEvaluator())
	if err != nil {
		panic(fmt.Sprintf("seed %d: the generator made a definition that does not hold together: %v", seed, err))
	}
	w.machine, w.graph = m, mustGraph(w.def)
	w.executor = newExecutor(w)
	w.drawProfile()
	w.input = engine.Input{
		Run: workflow.NewRunID(epoch0.Time(), [6]byte{1, 2, 3, 4, byte(seed >> 8), byte(seed)}), Workflow: w.def.Name,
		Definition: w.def.Hash, Namespace: "default", Params: params(drawn), Trigger: "manual", CreatedAt: epoch0, ScheduledAt: epoch0,
	}
	records, err := m.EncodeDirty(m.NewState(w.input))
	if err != nil {
		panic(err)
	}
	if err := w.store.save(1, records); err != nil {
		panic(err)
	}
	if w.profile.rollbacks > 0 {
		w.store.keep(0)
	}
	if w.faults.Verbs && (w.chance(0.5) || slices.ContainsFunc(w.def.Tasks, func(t workflow.Task) bool { return len(t.ExpandRefs) > 0 })) {
		w.revivals = 1 + w.r.IntN(3)
	}
	if w.faults.Crash {
		w.fragile = w.r.IntN(4)
	}
	if large(w.def) { // only these take a retry up over several steps
		if w.faults.Verbs {
			w.revivals = 1 + w.r.IntN(2)
		}
		if w.faults.Crash {
			w.fragile = 1 + w.r.IntN(3)
		}
	}
	return w
}

func mustGraph(def *workflow.Definition) *workflow.Graph {
	g, err := workflow.NewGraph(def)
	if err != nil {
		panic(err)
	}
	return g
}

// Shrink looks for a smaller definition and fewer kinds of faults with which the seed still fails.
func Shrink(seed uint64, opt Options) Options {
	if large(newWorld(seed, opt).def) {
		return opt
	}
	opt.Events = 100_000 // plenty for what is small
	fails := func(o Options) bool { return Run(seed, o).Violation != "" }
	for _, off := range []func(*Faults){
		func(f *Faults) { f.Rollback = false }, func(f *Faults) { f.Forget = false }, func(f *Faults) { f.Depose = false },
		func(f *Faults) { f.Crash = false }, func(f *Faults) { f.Save = false }, func(f *Faults) { f.Clock = false },
		func(f *Faults) { f.Worker = false }, func(f *Faults) { f.Network = false }, func(f *Faults) { f.Verbs = false },
		func(f *Faults) { f.Task = false },
	} {
		o := opt
		off(&o.Faults)
		if fails(o) {
			opt = o
		}
	}
	for n := 1; n <= 16; n++ {
		o := opt
		o.Tasks = n
		if fails(o) {
			return o
		}
	}
	return opt
}

// Report describes a failure: the seed, what broke, the definition, and the end of the transcript.
func (r *Result) Report(opt Options, lines int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s\n", r.Seed, r.Violation)
	fmt.Fprintf(&b, "with %+v, %d tasks at most\n", opt.Faults, opt.Tasks)
	fmt.Fprintf(&b, "workflow on_failure=%s max_parallel=%d timeout=%s\n", r.Definition.OnFailure, r.Definition.MaxParallel, r.Definition.Timeout)
	for i := range r.Definition.Tasks {
		if i == 25 {
			fmt.Fprintf(&b, "… %d tasks in all\n", len(r.Definition.Tasks))
			break
		}
		b.WriteString(describeDefinition(&r.Definition.Tasks[i]) + "\n")
	}
	from := max(0, len(r.Transcript)-lines)
	if from > 0 {
		fmt.Fprintf(&b, "… %d lines before\n", from)
	}
	b.WriteString(strings.Join(r.Transcript[from:], "\n"))
	return b.String()
}

func describeDefinition(t *workflow.Task) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s rule=%s", t.Kind, t.Name, t.TriggerRule)
	add := func(name string, set bool, v any) {
		if set {
			fmt.Fprintf(&b, " %s=%v", name, v)
		}
	}
	text := func(e *workflow.Expr) string {
		if e == nil {
			return ""
		}
		return e.Text
	}
	p := &t.Policy
	add("depends_on", len(t.DependsOn) > 0, t.DependsOn)
	add("refs", len(t.Refs) > 0, t.Refs)
	add("recovers", t.Recovers, true)
	add("when", t.When != nil, text(t.When)+" else "+string(t.WhenFalse))
	add("for_each", t.ForEach != nil, text(t.ForEach))
	add("key", t.Key != nil, text(t.Key))
	add("count", t.Count != nil, text(t.Count))
	add("body", true, string(t.BodyKind)+" "+text(t.Body))
	add("timeout", p.Timeout > 0, p.Timeout)
	add("start_timeout", p.StartTimeout > 0, p.StartTimeout)
	add("deadline", p.Deadline > 0, p.Deadline)
	add("allow_failure", p.AllowFailure, true)
	add("max_parallel", p.MaxParallel > 0, p.MaxParallel)
	add("min_success", p.MinSuccess != workflow.MinSuccess{}, p.MinSuccess)
	r := p.Retry
	add("retry", true, fmt.Sprintf("{%d tries, %s %s max %s jitter %g, lost %d, codes %v, when %q}",
		r.MaxAttempts, r.Delay, r.Backoff, r.MaxDelay, r.Jitter, r.MaxLost, r.OnExitCodes, text(r.When)))
	for _, d := range t.Dynamic {
		add(d.Attr, true, d.Expr.Text)
	}
	for _, o := range t.Outputs {
		add("output", true, fmt.Sprintf("%s %s from %s default %t", o.Name, o.Type.Text, o.From, o.Default != nil))
	}
	return b.String()
}
