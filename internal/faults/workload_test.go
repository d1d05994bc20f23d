// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// plan is a workflow in the making, with what is to be expected of it.
type plan struct {
	g      *ground
	work   string
	text   strings.Builder
	expect ledger.Expect
}

func (g *ground) newPlan(name string) *plan {
	g.t.Helper()
	p := &plan{g: g, work: programs.program(g.t, "/internal/faults/work"), expect: ledger.Expect{
		Status: "succeeded", Tasks: map[string]string{}, After: map[string][]string{}, Tries: map[string]int{},
	}}
	fmt.Fprintf(&p.text, "workflow %q {\n", name)
	// A lost attempt is tried again after the delay of the retry policy, and the default is ten seconds.
	p.text.WriteString("  defaults {\n    retry {\n      delay = \"200ms\"\n    }\n    resources {\n      cpu    = 10\n      memory = 10\n    }\n  }\n")
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
}

func (p *plan) task(s spec) {
	if s.kind == "" {
		s.kind = "task"
	}
	if s.ends == "" {
		s.ends = "succeeded"
	}
	args := []string{`"-ledger"`, fmt.Sprintf("%q", p.g.ledger)}
	for _, word := range words(s.work) {
		args = append(args, `"`+word+`"`)
	}
	fmt.Fprintf(&p.text, "  %s %q {\n", s.kind, s.name)
	var after []string
	for _, a := range s.after {
		after = append(after, "task."+a)
	}
	if len(after) > 0 {
		fmt.Fprintf(&p.text, "    depends_on = [%s]\n", strings.Join(after, ", "))
	}
	for line := range strings.SplitSeq(s.other, "\n") {
		if line != "" {
			p.text.WriteString("    " + line + "\n")
		}
	}
	fmt.Fprintf(&p.text, "    driver = \"raw_exec\"\n    config {\n      command = %q\n      args    = [%s]\n    }\n  }\n", p.work, strings.Join(args, ", "))
	p.expect.Tasks[s.name] = s.ends
	p.expect.After[s.name] = s.after
	p.expect.Tries[s.name] = s.tries
	if s.silent {
		p.expect.Silent = append(p.expect.Silent, s.name)
	}
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

// file writes the workflow and returns its path.
func (p *plan) file() string { return p.g.write("workflow.hcl", p.text.String()+"}\n") }

// retries makes a task that fails with 75 be tried again.
const retries = "retry {\n  max_attempts = 5\n  delay = \"200ms\"\n  on_exit_codes = [75]\n}"

// thirty is a workflow of 30 tasks of 0.2 to 1 s: two chains, a wide part, a fan-out whose outputs are read, retries, a
// failure with a handler that recovers, and a finally task. Its longest path takes about five seconds.
func (g *ground) thirty() *plan {
	p := g.newPlan("thirty")
	p.task(spec{name: "c1", work: "-for 300ms -output n=7", other: "output \"n\" {\n  type = number\n}"})
	for i := 2; i <= 8; i++ {
		p.task(spec{name: fmt.Sprintf("c%d", i), work: fmt.Sprintf("-for %dms", 200+(i*170)%500), after: []string{fmt.Sprintf("c%d", i-1)}})
	}
	joined := []string{"c8"}
	for i := 1; i <= 8; i++ {
		name := fmt.Sprintf("w%d", i)
		p.task(spec{name: name, work: fmt.Sprintf("-for %dms", 200+i*100), after: []string{"c1"}})
		joined = append(joined, name)
	}
	p.task(spec{name: "fan", work: "-for ${each.value}ms -output half=${each.value/2}", after: []string{"c1"},
		other: "for_each = { eu = 200, us = 300, apac = 400, mea = 600, latam = 800 }\nmax_parallel = 3\noutput \"half\" {\n  type = number\n}"})
	p.task(spec{name: "sum", work: "-for ${sum([for f in task.fan : f.output.half]) - 1000 + task.c1.output.n}ms", after: []string{"fan"}})
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("r%d", i)
		p.task(spec{name: name, work: "-for 200ms -fail-first 2", after: []string{"c2"}, other: retries, tries: 3})
		joined = append(joined, name)
	}
	p.task(spec{name: "broken", work: "-for 400ms -exit 3", after: []string{"c1"}, ends: "failed"})
	p.task(spec{name: "catch", work: "-for 300ms", after: []string{"broken"}, other: "trigger_rule = \"one_failed\"\nrecovers = true"})
	joined = append(joined, "sum", "catch")
	p.task(spec{name: "join", work: "-for 200ms", after: joined})
	for i, before := range []string{"join", "t1", "t2", "t3"} {
		p.task(spec{name: fmt.Sprintf("t%d", i+1), work: "-for 250ms", after: []string{before}})
	}
	p.task(spec{name: "bye", kind: "finally", work: "-for 200ms"})
	p.expect.After["bye"] = []string{"t4", "broken", "catch"}
	return p
}

func TestTheWorkloadHasThirtyTasks(t *testing.T) {
	if got := len(newGround(t).thirty().expect.Tasks); got != 30 {
		t.Errorf("got %d tasks, want 30", got)
	}
}
