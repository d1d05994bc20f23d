// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/cairnflow/cairn/internal/workflow"
)

// graph checks how tasks hang together.
func (c *checker) graph(def *workflow.Definition) {
	r := &resolver{findings: c.findings, flow: c.flow}
	for i, t := range c.flow.tasks {
		refs := def.Tasks[i].Refs
		for _, d := range t.dependsOn {
			other := c.flow.taskByName[d.name]
			switch {
			case other == nil:
				r.unknownTask(d.name, d.at)
			case other == t:
				c.errorf(d.at, "Waits for itself", "task %s cannot depend on itself.", t.name)
			case other.kind == t.kind:
				continue
			case t.kind == workflow.KindFinally:
				c.errorf(d.at, "Not a finally task", "task %s is a finally task and %s is not: finally begins after all other tasks anyway, and reads them without depends_on. Take it out.", t.name, d.name)
			default:
				c.errorf(d.at, "A finally task", "task %s cannot wait for %s, which runs after everything else because it is a finally task.", t.name, d.name)
			}
		}
		for _, name := range refs {
			other := c.flow.taskByName[name]
			switch {
			case other == nil: // reported where it is written
			case other == t:
				c.errorf(t.readsAt(name), "Waits for itself", "task %s refers to itself. Its outputs exist only after its end; use attempt.number or each.* inside of it.", t.name)
			case t.kind == workflow.KindTask && other.kind == workflow.KindFinally:
				c.errorf(t.readsAt(name), "A finally task", "task %s refers to %s, which runs after everything else because it is a finally task.", t.name, name)
			}
		}
		c.rule(t, refs)
	}
	if len(c.flow.taskByName) == len(def.Tasks) {
		c.cycles(def)
	}
}

// maxCycles is how many circles are reported: whoever has more begins anew.
const maxCycles = 10

// cycles reports the circles among the edges that are possible, each with an edge taken out of those before.
func (c *checker) cycles(def *workflow.Definition) {
	sound := *def
	sound.Tasks = slices.Clone(def.Tasks)
	for i, t := range c.flow.tasks {
		impossible := func(name string) bool {
			other := c.flow.taskByName[name]
			return other == nil || other == t || other.kind != t.kind
		}
		sound.Tasks[i].DependsOn = slices.DeleteFunc(slices.Clone(def.Tasks[i].DependsOn), impossible)
		sound.Tasks[i].Refs = slices.DeleteFunc(slices.Clone(def.Tasks[i].Refs), impossible)
	}
	for range maxCycles {
		_, err := workflow.NewGraph(&sound)
		var cycle *workflow.CycleError
		if !errors.As(err, &cycle) {
			if err != nil {
				c.errorf(c.flow.block.TypeRange, "Impossible graph", "%s.", err)
			}
			return
		}
		c.cycle(cycle)
		before, after := cycle.Tasks[0], cycle.Tasks[1]
		for i := range sound.Tasks {
			if t := &sound.Tasks[i]; t.Name == after {
				closing := func(name string) bool { return name == before }
				t.DependsOn, t.Refs = slices.DeleteFunc(t.DependsOn, closing), slices.DeleteFunc(t.Refs, closing)
			}
		}
	}
}

// cycle reports a cycle at the first of its tasks in the file.
func (c *checker) cycle(cycle *workflow.CycleError) {
	names := cycle.Tasks[:len(cycle.Tasks)-1]
	first := 0
	for i, n := range names {
		if c.flow.position(n) < c.flow.position(names[first]) {
			first = i
		}
	}
	// The graph gives the order of running; people read the arrow as "waits for".
	turned := slices.Concat(names[first:], names[:first], names[first:first+1])
	slices.Reverse(turned)
	const shown = 20
	text := strings.Join(turned, " -> ")
	if len(turned) > shown {
		text = strings.Join(turned[:shown], " -> ") + " -> … -> " + turned[0]
	}
	c.errorf(c.flow.taskByName[turned[0]].block.LabelRanges[0], "Tasks in a circle",
		"These tasks wait for each other: %s. Take one depends_on or one reference out.", text)
}

func (fl *flow) position(name string) int { return fl.taskByName[name].block.TypeRange.Start.Byte }

// rule checks that a trigger rule has something to look at.
func (c *checker) rule(t *task, refs []string) {
	if len(t.dependsOn) > 0 || t.ruleRange.Filename == "" {
		return
	}
	switch t.rule {
	case workflow.AllSuccess, workflow.AllDone:
	case workflow.NoneFailed:
		others := slices.ContainsFunc(refs, func(name string) bool {
			other := c.flow.taskByName[name]
			return other != nil && other.kind == t.kind
		})
		if !others {
			c.errorf(t.ruleRange, "Rule without dependencies", "task %s has the trigger_rule %s but depends on nothing. Write depends_on, or leave the rule out.", t.name, t.rule)
		}
	default:
		c.errorf(t.ruleRange, "Rule without dependencies", "task %s has the trigger_rule %s but no depends_on, and this rule looks at depends_on only: references just wait. Write depends_on.", t.name, t.rule)
	}
}

// readsAt is where a task reads another, or the task itself where that is by way of locals.
func (t *task) readsAt(name string) hcl.Range {
	sites := t.sites()
	if t.bodySite != nil {
		sites = append(sites, t.bodySite)
	}
	for _, s := range sites {
		if at, ok := s.refs.taskAt[name]; ok {
			return at
		}
	}
	return t.block.LabelRanges[0]
}
