// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

func graphCommand(a *App) *command {
	var name string
	var dot, mermaid, asJSON bool
	c := &command{
		synopsis:  "Show which task waits for which",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Prints the graph of the workflow in FILE, with the edges that come from references as well as those of
depends_on: as text, for Graphviz (-dot), as a Mermaid diagram (-mermaid) or as JSON (-json).`,
		examples: []string{"cairn graph examples/etl", "cairn graph -dot examples/etl | dot -Tsvg > etl.svg"},
		options: []option{
			textOption(&name, "workflow", "NAME", "The workflow to show, where FILE holds several."),
			switchOption(&dot, "dot", "Print it in the DOT language of Graphviz."),
			switchOption(&mermaid, "mermaid", "Print it as a Mermaid flowchart, as GitHub draws it."),
			switchOption(&asJSON, "json", "Print tasks and edges as JSON."),
		},
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if dot && mermaid || dot && asJSON || mermaid && asJSON {
			return c.usageError("-dot, -mermaid and -json exclude each other")
		}
		_, def, _, code := a.compile(args[0], name, asJSON)
		if def == nil {
			return code
		}
		g, err := workflow.NewGraph(def)
		if err != nil {
			return a.broken(err)
		}
		switch {
		case dot:
			a.print(dotGraph(def, g))
		case mermaid:
			a.print(mermaidGraph(def, g))
		case asJSON:
			a.printJSON(graphDocument(def, g))
		default:
			a.print(textGraph(def, g))
		}
		return exitOK
	}
	return c
}

// textGraph lists the tasks level by level: nobody in a level waits for another one of it.
func textGraph(def *workflow.Definition, g *workflow.Graph) string {
	level := levels(def, g)
	order := make([]int, len(def.Tasks))
	width := 0
	for n := range order {
		order[n] = n
		width = max(width, len(taskLabel(&def.Tasks[n])))
	}
	slices.SortStableFunc(order, func(x, y int) int {
		if kx, ky := def.Tasks[x].Kind, def.Tasks[y].Kind; kx != ky {
			if kx == workflow.KindFinally {
				return 1
			}
			return -1
		}
		return level[x] - level[y]
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", def.Name)
	finally := false
	for _, n := range order {
		t := &def.Tasks[n]
		if t.Kind == workflow.KindFinally && !finally {
			finally = true
			b.WriteString("finally\n")
		}
		line := fmt.Sprintf("  %s%s", strings.Repeat("  ", level[n]), taskLabel(t))
		if before := predecessors(def, g, n); len(before) > 0 {
			line = pad(line, width+2+2*maxLevel(level)+2) + "← " + strings.Join(before, ", ")
		}
		if t.TriggerRule != workflow.AllSuccess {
			line += "  (" + string(t.TriggerRule) + ")"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func maxLevel(level []int) int {
	out := 0
	for _, l := range level {
		out = max(out, l)
	}
	return min(out, maxIndent)
}

// maxIndent bounds the indentation of a long chain.
const maxIndent = 12

// levels gives each task the length of the longest way to it, at most maxIndent.
func levels(def *workflow.Definition, g *workflow.Graph) []int {
	level, open := make([]int, len(def.Tasks)), make([]int, len(def.Tasks))
	var ready []int
	for n := range def.Tasks {
		if open[n] = len(g.Predecessors(n)); open[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		n := ready[0]
		ready = ready[1:]
		for _, d := range g.Dependents(n) {
			level[d] = min(max(level[d], level[n]+1), maxIndent)
			if open[d]--; open[d] == 0 {
				ready = append(ready, d)
			}
		}
	}
	return level
}

func taskLabel(t *workflow.Task) string {
	switch t.Shape() {
	case workflow.ShapeMap:
		return t.Name + "[for_each]"
	case workflow.ShapeList:
		return t.Name + "[count]"
	}
	return t.Name
}

func predecessors(def *workflow.Definition, g *workflow.Graph, n int) []string {
	var out []string
	for _, p := range g.Predecessors(n) {
		out = append(out, def.Tasks[p].Name)
	}
	return out
}

// edgeLabel names the rule of the waiting task when it is not the usual one.
func edgeLabel(def *workflow.Definition, g *workflow.Graph, from, to int) string {
	rule := def.Tasks[to].TriggerRule
	if rule == workflow.AllSuccess || !slices.Contains(g.Rule(to), from) {
		return ""
	}
	return string(rule)
}

func dotGraph(def *workflow.Definition, g *workflow.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir = LR\n  node [shape = box]\n", def.Name)
	for n := range def.Tasks {
		t := &def.Tasks[n]
		look := ""
		if t.Kind == workflow.KindFinally {
			look = ", style = dashed"
		} else if t.BodyKind == workflow.BodyJoin {
			look = ", shape = circle"
		}
		fmt.Fprintf(&b, "  %q [label = %q%s]\n", t.Name, taskLabel(t), look)
	}
	for n := range def.Tasks {
		for _, p := range g.Predecessors(n) {
			look := ""
			if rule := edgeLabel(def, g, p, n); rule != "" {
				look = fmt.Sprintf(" [label = %q]", rule)
			}
			fmt.Fprintf(&b, "  %q -> %q%s\n", def.Tasks[p].Name, def.Tasks[n].Name, look)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func mermaidGraph(def *workflow.Definition, g *workflow.Graph) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for n := range def.Tasks {
		t := &def.Tasks[n]
		open, end := "[", "]"
		if t.Kind == workflow.KindFinally {
			open, end = "{{", "}}"
		} else if t.BodyKind == workflow.BodyJoin {
			open, end = "((", "))"
		}
		// Numbers as IDs: some names are words of the Mermaid language.
		fmt.Fprintf(&b, "  t%d%s\"%s\"%s\n", n, open, taskLabel(t), end)
	}
	for n := range def.Tasks {
		for _, p := range g.Predecessors(n) {
			arrow := "-->"
			if rule := edgeLabel(def, g, p, n); rule != "" {
				arrow = "-- " + rule + " -->"
			}
			fmt.Fprintf(&b, "  t%d %s t%d\n", p, arrow, n)
		}
	}
	return b.String()
}

type graphJSON struct {
	Workflow string      `json:"workflow"`
	Tasks    []graphTask `json:"tasks"`
	Edges    []graphEdge `json:"edges"`
}

type graphTask struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	FanOut      bool   `json:"fan_out"`
	TriggerRule string `json:"trigger_rule"`
}

type graphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"` // "depends_on" or "reference"
}

func graphDocument(def *workflow.Definition, g *workflow.Graph) graphJSON {
	out := graphJSON{Workflow: def.Name, Tasks: []graphTask{}, Edges: []graphEdge{}}
	for n := range def.Tasks {
		t := &def.Tasks[n]
		out.Tasks = append(out.Tasks, graphTask{t.Name, string(t.Kind), t.Shape() != workflow.ShapePlain, string(t.TriggerRule)})
		for _, p := range g.Predecessors(n) {
			kind := "reference"
			if slices.Contains(g.Depends(n), p) {
				kind = "depends_on"
			}
			out.Edges = append(out.Edges, graphEdge{def.Tasks[p].Name, t.Name, kind})
		}
	}
	return out
}
