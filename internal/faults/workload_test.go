// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// plan is a workflow in the making, with what is to be expected of it.
type plan struct {
	g        *ground
	name     string
	work     string
	text     strings.Builder
	children []*plan // the workflows that its tasks run
	expect   ledger.Expect
}

// newPlan begins a workflow, with the numbers that it is given.
func (g *ground) newPlan(name string, params ...string) *plan {
	g.t.Helper()
	p := &plan{g: g, name: name, work: programs.program(g.t, "/internal/faults/work"), expect: ledger.Expect{
		Status: "succeeded", Tasks: map[string]string{}, After: map[string][]string{}, Tries: map[string]int{},
		Takes: map[string]time.Duration{}, Calls: map[string]string{}, Children: map[string][]ledger.Expect{},
	}}
	fmt.Fprintf(&p.text, "workflow %q {\n", name)
	for _, param := range params {
		fmt.Fprintf(&p.text, "  param %q {\n    type = number\n  }\n", param)
	}
	// A lost attempt is tried again after the delay of the retry policy, and the default is ten seconds.
	p.text.WriteString("  defaults {\n    retry {\n      delay = \"200ms\"\n    }\n    resources {\n      cpu    = 10\n      memory = 50\n    }\n  }\n")
	return p
}

// spec is one task of a plan.
type spec struct {
	name   string
	kind   string   // "task" if empty
	work   string   // flags of the program work, a space between them
	after  []string // depends_on
	other  string   // more lines of HCL
	ends   string   // "succeeded" if empty
	tries  int
	silent bool // never runs

	// What a task is instead of the program work: one of these.
	timer  string        // lines of HCL of a body that takes no worker
	takes  time.Duration // how long the timer takes at least
	method string        // of a call to the ground's service
	runs   *plan         // the workflow that it runs
	params string        // of that, as HCL
	each   []ledger.Expect
}

func (p *plan) task(s spec) {
	if s.kind == "" {
		s.kind = "task"
	}
	if s.ends == "" {
		s.ends = "succeeded"
	}
	fmt.Fprintf(&p.text, "  %s %q {\n", s.kind, s.name)
	var after []string
	for _, a := range s.after {
		after = append(after, "task."+a)
	}
	if len(after) > 0 {
		fmt.Fprintf(&p.text, "    depends_on = [%s]\n", strings.Join(after, ", "))
	}
	for line := range strings.SplitSeq(s.other+"\n"+p.body(&s), "\n") {
		if line != "" {
			p.text.WriteString("    " + line + "\n")
		}
	}
	p.text.WriteString("  }\n")
	p.expect.Tasks[s.name] = s.ends
	p.expect.After[s.name] = s.after
	p.expect.Tries[s.name] = s.tries
	if s.silent {
		p.expect.Silent = append(p.expect.Silent, s.name)
	}
}

// body writes what a task does, and notes what that means for what is expected.
func (p *plan) body(s *spec) string {
	switch {
	case s.timer != "":
		s.silent = true
		p.expect.Takes[s.name] = s.takes
		return s.timer
	case s.method != "":
		p.expect.Calls[s.name] = s.method
		return fmt.Sprintf("http {\n  method = %q\n  url    = \"%s?run=${run.id}&task=%s&attempt=${attempt.number}\"\n}", s.method, p.g.service(), s.name)
	case s.runs != nil:
		if !slices.Contains(p.children, s.runs) {
			p.children = append(p.children, s.runs)
		}
		if s.each == nil {
			s.each = []ledger.Expect{s.runs.expect}
		}
		p.expect.Children[s.name] = s.each
		return fmt.Sprintf("run_workflow {\n  source = %q\n  params = { %s }\n}", s.runs.name+".hcl", s.params)
	}
	args := []string{`"-ledger"`, fmt.Sprintf("%q", p.g.ledger)}
	for _, word := range words(s.work) {
		args = append(args, `"`+word+`"`)
	}
	return fmt.Sprintf("driver = \"raw_exec\"\nconfig {\n  command = %q\n  args    = [%s]\n}", p.work, strings.Join(args, ", "))
}

// output declares an output of the run.
func (p *plan) output(name, value string) {
	fmt.Fprintf(&p.text, "  output %q {\n    value = %s\n  }\n", name, value)
}

// words splits at spaces outside of ${}.
func words(s string) []string {
	depth := 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch r {
		case '{':
			depth++
		case '}':
			depth--
		}
		return r == ' ' && depth == 0
	})
}

// file writes the workflow, and those that it runs, and returns its path.
func (p *plan) file() string {
	for _, child := range p.children {
		child.file()
	}
	return p.g.write(p.name+".hcl", p.text.String()+"}\n")
}

// numbered declares an output of a task.
const numbered = "output \"n\" {\n  type = number\n}"

// retries makes a task be tried again when its failure is one that passes.
var retries = fmt.Sprintf("retry {\n  max_attempts = 5\n  delay = \"200ms\"\n  on_exit_codes = [%d]\n}", ledger.Passing)

// always makes a call be tried again whatever became of it: whoever makes it may be killed again and again.
const always = "retry {\n  max_attempts = 20\n  delay = \"100ms\"\n  backoff = \"constant\"\n}"

// child is a workflow to be run by others. It takes some milliseconds, and gives back a number.
func (g *ground) child() *plan {
	p := g.newPlan("inner", "ms")
	p.task(spec{name: "say", work: "-for ${param.ms}ms -output n=5", other: numbered})
	p.output("n", "task.say.output.n")
	return p
}

// tidyChild is a child with a retry and a finally task.
func (g *ground) tidyChild() *plan {
	p := g.child()
	p.task(spec{name: "check", work: "-for 20ms -fail-first 1", after: []string{"say"}, other: retries, tries: 2})
	p.task(spec{name: "tidy", kind: "finally", work: "-for 20ms"})
	p.expect.After["tidy"] = []string{"check"}
	return p
}

// middle is a workflow to be run by others that runs another one itself.
func (g *ground) middle(inner *plan) *plan {
	p := g.newPlan("middle", "ms")
	p.task(spec{name: "before", work: "-for ${param.ms}ms"})
	p.task(spec{name: "deep", after: []string{"before"}, runs: inner, params: "ms = param.ms"})
	p.output("n", "task.deep.output.n")
	return p
}

// moody is a workflow to be run by others that exits with the code it is given.
func (g *ground) moody() *plan {
	p := g.newPlan("moody", "exit")
	p.task(spec{name: "try", work: "-for 20ms -exit ${param.exit}"})
	return p
}

// workerless adds tasks that run elsewhere than on a worker, after some task, and returns their names: a run in a run, several
// runs of one task, a run that fails and is made anew, calls that may and may not be repeated, a timer, and an approval that
// nobody gives. The outputs of all of them can be read.
func (p *plan) workerless(after string, ms int, inner *plan) []string {
	first, moody := []string{after}, p.g.moody()
	failed := moody.expect
	failed.Status, failed.Tasks = "failed", map[string]string{"try": "failed"}
	p.task(spec{name: "nest", after: first, runs: p.g.middle(inner), params: fmt.Sprintf("ms = %d", ms)})
	p.task(spec{name: "kids", after: first, runs: inner, params: fmt.Sprintf("ms = each.value * %d", ms), other: "for_each = { a = 1, b = 2, c = 3 }\nmax_parallel = 2"})
	p.task(spec{name: "mood", after: first, runs: moody, params: "exit = attempt.number == 1 ? 3 : 0", tries: 2,
		each: []ledger.Expect{failed, moody.expect}, other: "retry {\n  max_attempts = 2\n  delay = \"100ms\"\n}"})
	p.task(spec{name: "get", after: first, method: "GET", other: always})
	p.task(spec{name: "post", after: []string{"get"}, method: "POST", other: always})
	p.task(spec{name: "cool", after: first, timer: "wait {\n  duration = \"300ms\"\n}", takes: 300 * time.Millisecond})
	p.task(spec{name: "ask", after: []string{"cool"}, timer: "approval {\n  timeout = \"200ms\"\n  on_timeout = \"approve\"\n}", takes: 200 * time.Millisecond})
	return []string{"nest", "kids", "mood", "post", "ask"}
}

// given is a number that is made of all outputs of the workerless tasks: 5 + 15 + 4 + 4.
const given = "${task.nest.output.n + sum([for k in values(task.kids) : k.output.n]) + task.get.output.json.n + task.post.output.json.n}"

// thirty is a workflow of 30 tasks of 0.2 to 1 s: a chain, a wide part, a fan-out whose outputs are read, retries, a
// failure with a handler that recovers, tasks without a worker, and a finally task. Its longest path takes about five
// seconds.
func (g *ground) thirty() *plan {
	p := g.newPlan("thirty")
	p.task(spec{name: "c1", work: "-for 300ms -output n=7", other: numbered})
	for i := 2; i <= 7; i++ {
		p.task(spec{name: fmt.Sprintf("c%d", i), work: fmt.Sprintf("-for %dms", 200+(i*170)%500), after: []string{fmt.Sprintf("c%d", i-1)}})
	}
	joined := append([]string{"c7"}, p.workerless("c2", 200, g.tidyChild())...)
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("w%d", i)
		p.task(spec{name: name, work: fmt.Sprintf("-for %dms", 200+i*200), after: []string{"c1"}})
		joined = append(joined, name)
	}
	p.task(spec{name: "fan", work: "-for ${each.value}ms -output half=${each.value/2}", after: []string{"c1"},
		other: "for_each = { eu = 200, us = 300, apac = 400, mea = 600, latam = 800 }\nmax_parallel = 3\noutput \"half\" {\n  type = number\n}"})
	p.task(spec{name: "sum", work: "-for ${sum([for f in task.fan : f.output.half]) - 1000 + task.c1.output.n}ms", after: []string{"fan"}})
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("r%d", i)
		p.task(spec{name: name, work: "-for 200ms -fail-first 2", after: []string{"c2"}, other: retries, tries: 3})
		joined = append(joined, name)
	}
	p.task(spec{name: "broken", work: "-for 400ms -exit 3", after: []string{"c1"}, ends: "failed"})
	p.task(spec{name: "catch", work: "-for 300ms", after: []string{"broken"}, other: "trigger_rule = \"one_failed\"\nrecovers = true"})
	joined = append(joined, "sum", "catch")
	p.task(spec{name: "join", work: "-for " + given + "0ms", after: joined})
	for i, before := range []string{"join", "t1", "t2"} {
		p.task(spec{name: fmt.Sprintf("t%d", i+1), work: "-for 250ms", after: []string{before}})
	}
	p.task(spec{name: "bye", kind: "finally", work: "-for 200ms"})
	p.expect.After["bye"] = []string{"t3", "broken", "catch"}
	return p
}

func TestTheWorkloadHasThirtyTasks(t *testing.T) {
	if got := len(newGround(t).thirty().expect.Tasks); got != 30 {
		t.Errorf("got %d tasks, want 30", got)
	}
}
