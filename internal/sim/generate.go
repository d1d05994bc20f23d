// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// generator makes a random definition. Tasks are made in topological order, t0, t1, …, and declared in another one.
type generator struct {
	r     *rand.Rand
	def   *workflow.Definition
	made  []workflow.Task // of the kind being made
	limit int             // tasks at most; 0 = no limit
	calm  bool            // large definitions: fewer ways to fail, so that they get far
	kind  bool            // small ones that hold few errors and limits, for the same reason
}

// params are the inputs of every simulated run.
func params(r *rand.Rand) map[string]workflow.Value {
	return map[string]workflow.Value{
		"n": {JSON: []byte(fmt.Sprint(r.IntN(6)))},
		"s": {JSON: []byte(`"text"`)},
	}
}

// generate draws a definition. limit bounds the number of tasks (0 = as drawn): the shrinker lowers it.
func generate(r *rand.Rand, limit int) *workflow.Definition {
	g := &generator{r: r, limit: limit, def: &workflow.Definition{
		Name: "sim", Namespace: "default", Priority: 50, Hash: "sha256:0", OnFailure: workflow.OnFailureContinue,
	}}
	switch r.IntN(4) {
	case 0:
		g.def.OnFailure = workflow.OnFailureDrain
	case 1:
		g.def.OnFailure = workflow.OnFailureFailFast
	}
	if g.chance(0.2) {
		g.def.MaxParallel = 1 + r.IntN(3)
	}
	if g.chance(0.2) {
		g.def.Timeout = g.duration(20*time.Second, 20*time.Minute)
	}
	g.kind = g.chance(0.4)
	switch shape := r.Float64(); {
	case shape < 0.008:
		g.calm = true
		g.wide()
	case shape < 0.016:
		g.calm = true
		g.long()
	case shape < 0.08:
		g.again()
		g.tasks(1+g.r.IntN(5), 0.3)
	case shape < 0.19:
		g.tasks(10+r.IntN(25), 0.15)
	default:
		g.tasks(1+r.IntN(9), 0.3)
	}
	normal := g.made
	g.made = nil
	if g.chance(0.45) {
		for i := range 1 + r.IntN(3) {
			g.finally(i, normal)
		}
	}
	finally := g.made
	r.Shuffle(len(normal), func(i, j int) { normal[i], normal[j] = normal[j], normal[i] })
	g.def.Tasks = append(normal, finally...)
	g.outputs(normal)
	return g.def
}

func (g *generator) chance(p float64) bool { return g.r.Float64() < p }

// duration draws a whole number of seconds, small ones more often.
func (g *generator) duration(low, high time.Duration) time.Duration {
	f := g.r.Float64()
	return (low + time.Duration(f*f*float64(high-low))).Truncate(time.Second)
}

func (g *generator) pick(items ...string) string { return items[g.r.IntN(len(items))] }

func value(text string) *workflow.Expr {
	return &workflow.Expr{Kind: workflow.ExprValue, Text: text, Range: workflow.Range{File: "main.hcl", Line: 1}}
}

// tasks makes n tasks with edges to earlier ones; fan is the share of fan-outs.
func (g *generator) tasks(n int, fan float64) {
	for range n {
		i := len(g.made)
		if g.limit > 0 && i >= g.limit {
			return
		}
		t := g.task(fmt.Sprintf("t%d", i), workflow.KindTask, fan)
		g.made = append(g.made, t)
	}
}

// wide makes one fan-out of thousands between two small tasks.
func (g *generator) wide() {
	g.tasks(1+g.r.IntN(2), 0)
	t := g.task("wide", workflow.KindTask, 0)
	n := 800 + g.r.IntN(2200)
	if g.chance(0.5) {
		t.Count = value(fmt.Sprint(n))
	} else {
		t.ForEach = value(fmt.Sprintf("objmap(%d)", n))
	}
	if g.chance(0.5) {
		t.Policy.MinSuccess = g.minSuccess()
	}
	t.BodyKind, t.Body = workflow.BodyTask, g.body(&t)
	g.made = append(g.made, t)
	after := g.task("after", workflow.KindTask, 0)
	g.depend(&after, "wide", false)
	g.made = append(g.made, after)
}

// again makes what a retry by hand is likely to expand anew: a task that times out as often as not, one below it that runs
// whatever becomes of it, and a fan-out over what that gives.
func (g *generator) again() {
	g.calm = true // nothing else is to keep it from getting there
	gate := g.task("t0", workflow.KindTask, 0)
	gate.Policy = workflow.DefaultPolicy()
	gate.Policy.Timeout = 3 * time.Second
	gate.BodyKind, gate.Body = workflow.BodyTask, g.body(&gate)
	list := g.task("t1", workflow.KindTask, 0)
	list.DependsOn, list.Refs, list.TriggerRule, list.Recovers = []string{"t0"}, nil, workflow.AllDone, false
	list.Policy, list.Dynamic, list.Outputs = workflow.DefaultPolicy(), nil, nil
	for len(list.Outputs) == 0 || list.Outputs[0].Name != "n" {
		list.Outputs = nil
		g.taskOutputs(&list)
	}
	list.BodyKind, list.Body = workflow.BodyTask, g.body(&list)
	fan := g.task("t2", workflow.KindTask, 0)
	fan.DependsOn, fan.Refs, fan.TriggerRule, fan.Recovers = nil, []string{"t1"}, workflow.AllSuccess, false
	fan.BodyKind, fan.Body = workflow.BodyTask, g.body(&fan)
	fan.Count, fan.ForEach = nil, value(g.pick(`names(mod(out("t1", "n"), 6))`, `objmap(mod(out("t1", "n"), 6))`, `objsbig(out("t1", "n"))`))
	if strings.HasPrefix(fan.ForEach.Text, "objsbig") {
		fan.Key = value(`field(value(), "id")`)
	}
	fan.ExpandRefs = []string{"t1"}
	g.made = append(g.made, gate, list, fan)
	g.calm = false
}

// long makes a chain, a ladder or a comb of many hundred tasks: one end of it decides the rest in one cascade.
func (g *generator) long() {
	n := 550 + g.r.IntN(500)
	kind := g.r.IntN(3)
	for i := range n {
		if g.limit > 0 && i >= g.limit {
			return
		}
		t := workflow.Task{
			Name: fmt.Sprintf("t%d", i), Kind: workflow.KindTask, TriggerRule: workflow.AllSuccess,
			WhenFalse: workflow.WhenFalseSkip, Policy: workflow.DefaultPolicy(), BodyKind: workflow.BodyJoin,
		}
		if g.chance(0.05) || i < 2 {
			t.BodyKind = workflow.BodyTask
			t.Body = g.body(&t)
		}
		switch {
		case i == 0:
			if g.chance(0.3) {
				t.When, t.WhenFalse = value("false"), workflow.WhenFalseSkipBranch
			}
		case kind == 0:
			t.DependsOn = []string{fmt.Sprintf("t%d", i-1)}
		case kind == 1:
			t.DependsOn = []string{fmt.Sprintf("t%d", i-1), fmt.Sprintf("t%d", max(0, i-2))}
		default:
			t.DependsOn = []string{"t0"}
		}
		g.made = append(g.made, t)
	}
}

func (g *generator) finally(i int, normal []workflow.Task) {
	t := g.task(fmt.Sprintf("f%d", i), workflow.KindFinally, 0.15)
	if len(normal) > 0 && g.chance(0.5) {
		ref := normal[g.r.IntN(len(normal))]
		t.Refs = append(t.Refs, ref.Name)
		if t.BodyKind == workflow.BodyTask {
			t.Body = g.body(&t)
		}
	}
	if g.chance(0.2) {
		t.When = value(g.pick(`eq(runstatus(), "succeeded")`, `not(eq(runstatus(), "succeeded"))`, `eq(runstatus(), "failed")`))
	}
	t.Recovers = false
	g.made = append(g.made, t)
}

func (g *generator) task(name string, kind workflow.TaskKind, fan float64) workflow.Task {
	t := workflow.Task{
		Name: name, Kind: kind, TriggerRule: workflow.AllSuccess, WhenFalse: workflow.WhenFalseSkip,
		Policy: g.policy(), BodyKind: workflow.BodyTask,
	}
	edges := 0
	if len(g.made) > 0 {
		edges = []int{0, 1, 1, 1, 1, 2, 2, 2, 3, 4}[g.r.IntN(10)]
	}
	for range edges {
		from := len(g.made) - 1 - g.r.IntN(min(len(g.made), 6))
		g.depend(&t, g.made[from].Name, g.chance(0.3))
	}
	if len(t.DependsOn) > 0 && g.chance(0.55) {
		rules := workflow.TriggerRules()
		t.TriggerRule = rules[g.r.IntN(len(rules))]
		if g.chance(0.3) { // what does not wait for all gets several to choose from
			t.TriggerRule = []workflow.TriggerRule{workflow.OneSuccess, workflow.OneFailed}[g.r.IntN(2)]
			for range 2 {
				g.depend(&t, g.made[g.r.IntN(len(g.made))].Name, false)
			}
		}
	} else if g.chance(0.1) {
		t.TriggerRule = workflow.AllDone
	}
	if t.TriggerRule.Handler() {
		t.Recovers = g.chance(0.5)
	}
	if !g.calm {
		g.when(&t)
	}
	if g.chance(fan) {
		g.fanOut(&t)
	}
	if g.chance(0.6) {
		g.taskOutputs(&t)
	}
	if !g.calm && g.chance(0.15) {
		g.dynamic(&t)
	}
	switch p := g.r.Float64(); {
	case t.ForEach == nil && t.Count == nil && p < 0.12:
		t.BodyKind, t.Outputs, t.Dynamic = workflow.BodyJoin, nil, nil
	case !g.calm && p > 0.72:
		g.leaderBody(&t)
	default:
		t.Body = g.body(&t)
	}
	return t
}

// depend adds an edge, explicit or by reference.
func (g *generator) depend(t *workflow.Task, name string, data bool) {
	for _, list := range [][]string{t.DependsOn, t.Refs} {
		for _, n := range list {
			if n == name {
				return
			}
		}
	}
	if data {
		t.Refs = append(t.Refs, name)
		if g.chance(0.3) {
			t.DependsOn = append(t.DependsOn, name)
		}
		return
	}
	t.DependsOn = append(t.DependsOn, name)
}

func (g *generator) ref(t *workflow.Task) (string, bool) {
	if len(t.Refs) == 0 {
		return "", false
	}
	return t.Refs[g.r.IntN(len(t.Refs))], true
}

func (g *generator) when(t *workflow.Task) {
	if g.chance(0.3) {
		t.WhenFalse = workflow.WhenFalseSkipBranch
	}
	name, ok := g.ref(t)
	switch p := g.r.Float64(); {
	case p < 0.62 || g.kind && p < 0.79:
	case p < 0.68:
		t.When = value("true")
	case p < 0.76:
		t.When = value("false")
	case p < 0.775:
		t.When = value("err()")
	case p < 0.785:
		t.When = value(g.pick(`"yes"`, "null", "1"))
	case p < 0.79:
		t.When = value(`eq(runstatus(), "running")`)
	case ok && p < 0.9:
		t.When = value(fmt.Sprintf(`eq(status(%q), %q)`, name, g.pick("succeeded", "failed", "skipped", "pending")))
	case ok:
		t.When = value(fmt.Sprintf(`eq(mod(out(%q, "n"), 2), 0)`, name))
	}
}

func (g *generator) fanOut(t *workflow.Task) {
	size := fmt.Sprint(g.r.IntN(7))
	if name, ok := g.ref(t); ok && g.chance(0.6) {
		size = fmt.Sprintf(g.pick(`mod(out(%q, "n"), 6)`, `need(out(%q, "n"))`, `count(%q)`), name)
	} else if g.chance(0.1) {
		size = g.pick("0", `param("n")`, `"x"`, "err()", "null")
	}
	switch g.r.IntN(5) {
	case 0, 1:
		t.Count = value(size)
		if g.chance(0.04) {
			t.Count = value(g.pick("-1", "1.5"))
		}
	case 2:
		t.ForEach = value("names(" + size + ")")
	case 3:
		t.ForEach = value("objmap(" + size + ")")
	case 4:
		t.ForEach = value("objs(" + size + ")")
		if !g.chance(0.05) { // a list without key is an error
			t.Key = value(`field(value(), "id")`)
		}
		if g.chance(0.08) {
			t.Key = value(g.pick(`field(value(), "twin")`, "long()", "null", "err()"))
		}
	}
	for _, e := range []*workflow.Expr{t.Count, t.ForEach, t.Key} {
		for _, name := range t.Refs {
			if e != nil && strings.Contains(e.Text, fmt.Sprintf("%q", name)) {
				t.ExpandRefs = append(t.ExpandRefs, name)
			}
		}
	}
	if g.chance(0.3) {
		t.Policy.MaxParallel = 1 + g.r.IntN(3)
	}
	if g.chance(0.4) {
		t.Policy.MinSuccess = g.minSuccess()
	}
}

func (g *generator) minSuccess() workflow.MinSuccess {
	if g.chance(0.5) {
		return workflow.MinSuccess{Number: 1 + g.r.IntN(5)}
	}
	return workflow.MinSuccess{Percent: []float64{1, 33.3, 50, 80, 99.5, 100}[g.r.IntN(6)]}
}

func (g *generator) taskOutputs(t *workflow.Task) {
	add := func(name, typ, def string) {
		o := workflow.Output{
			Name: name, From: workflow.FromFile,
			Type: workflow.Expr{Kind: workflow.ExprConvert, Text: typ, Range: workflow.Range{File: "main.hcl", Line: 2}},
		}
		if g.chance(0.4) {
			o.Default = &workflow.Value{JSON: []byte(def)}
		}
		t.Outputs = append(t.Outputs, o)
	}
	if g.chance(0.8) {
		add("n", "number", "2")
	}
	if g.chance(0.3) {
		add("s", "string", `"none"`)
	}
	if g.chance(0.15) {
		add("line", "number", "7")
		t.Outputs[len(t.Outputs)-1].From = workflow.FromStdout
		if g.chance(0.5) {
			t.Outputs[len(t.Outputs)-1].Pattern = `rows=(\d+)`
		}
	}
}

// body is what the task renders: a digest of all it may read, now and then an error of one instance or attempt.
func (g *generator) body(t *workflow.Task) *workflow.Expr {
	quoted := make([]string, len(t.Refs))
	for i, name := range t.Refs {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	text := "seen(" + strings.Join(quoted, ", ") + ")"
	fanned := t.ForEach != nil || t.Count != nil
	switch p := g.r.Float64(); {
	case g.calm || g.kind:
	case p < 0.02:
		text = "err()"
	case p < 0.04 && fanned:
		text = "if(eq(index(), 1), err(), " + text + ")"
	case p < 0.05:
		text = "if(eq(number(), 2), err(), " + text + ")"
	case p < 0.08 && len(t.Refs) > 0:
		text = fmt.Sprintf(`if(eq(need(out(%q, "n")), -1), 0, %s)`, t.Refs[0], text)
	}
	e := value(text)
	e.Kind = workflow.ExprBody
	return e
}

func (g *generator) outputs(normal []workflow.Task) {
	if len(normal) == 0 || g.calm || !g.chance(0.25) {
		return
	}
	t := normal[g.r.IntN(len(normal))]
	o := workflow.RunOutput{Name: "result", Refs: []string{t.Name}, Value: *value(fmt.Sprintf(`out(%q, "n")`, t.Name))}
	switch p := g.r.Float64(); {
	case p < 0.1:
		o.Value = *value("err()")
	case p < 0.2:
		o.Value = *value(fmt.Sprintf(`need(out(%q, "n"))`, t.Name))
	}
	g.def.Outputs = append(g.def.Outputs, o)
}
